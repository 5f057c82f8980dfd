{{/* Environment variables of the operator container. */}}
{{- define "image-share-operator.env" -}}
{{- with .Values.watchNamespaces }}
- name: ISA_NAMESPACES
  value: {{ join "," . | quote }}
{{- end }}
- name: ISA_LEADER_ELECTION
  value: {{ .Values.leaderElection.enabled | quote }}
- name: ISA_LEASE_NAME
  value: {{ include "image-share-operator.name" . }}
{{- range $name, $value := .Values.settings }}
- name: ISA_{{ $name | snakecase | upper | replace "SECONDS" "S" }}
  value: {{ $value | quote }}
{{- end }}
{{- if .Values.metrics.enabled }}
- name: ISA_METRICS_PORT
  value: {{ int .Values.metrics.port | quote }}
{{- end }}
{{- if or .Values.extraCA.configMap .Values.extraCA.secret }}
- name: SSL_CERT_FILE # in addition to /etc/ssl/certs of the image, which remains trusted
  value: /etc/image-share-operator/ca/ca.crt
{{- end }}
{{- with .Values.proxy.httpsProxy }}
- name: HTTPS_PROXY
  value: {{ . | quote }}
{{- end }}
{{- with .Values.proxy.noProxy }}
- name: NO_PROXY
  value: {{ join "," . | quote }}
{{- end }}
{{- end -}}
