{{- define "image-share-operator.podSpec" -}}
serviceAccountName: {{ include "image-share-operator.serviceAccount" . }}
enableServiceLinks: false
{{- with include "image-share-operator.pullSecrets" . | fromYamlArray }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
securityContext:
  {{- include "image-share-operator.securityContext" (list . .Values.podSecurityContext) | nindent 2 }}
{{- with .Values.initContainers }}
initContainers:
  {{- toYaml . | nindent 2 }}
{{- end }}
containers:
  {{- include "image-share-operator.container" . | nindent 2 }}
  {{- with .Values.extraContainers }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "image-share-operator.affinity" . | fromYaml }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- include "image-share-operator.spread" $ | trim | nindent 2 }}
{{- end }}
{{- with .Values.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.dnsPolicy }}
dnsPolicy: {{ . }}
{{- end }}
{{- with .Values.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- if or .Values.extraVolumes .Values.extraCA.configMap .Values.extraCA.secret }}
volumes:
{{- with .Values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.extraCA }}
{{- if .configMap }}
  - name: ca
    configMap:
      name: {{ .configMap }}
      items:
        - key: {{ .key }}
          path: ca.crt
{{- else if .secret }}
  - name: ca
    secret:
      secretName: {{ .secret }}
      items:
        - key: {{ .key }}
          path: ca.crt
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "image-share-operator.container" -}}
- name: operator
  image: {{ include "image-share-operator.image" . | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  {{- with .Values.extraArgs }}
  args: {{ prepend . "run" | toJson }}
  {{- end }}
  env:
    {{- include "image-share-operator.env" . | trim | nindent 4 }}
    {{- with .Values.extraEnv }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- if .Values.metrics.enabled }}
  ports:
    - name: metrics
      containerPort: {{ int .Values.metrics.port }}
  startupProbe:
    httpGet:
      path: /healthz
      port: metrics
    {{- toYaml .Values.startupProbe | nindent 4 }}
  livenessProbe:
    httpGet:
      path: /healthz
      port: metrics
    {{- toYaml .Values.livenessProbe | nindent 4 }}
  readinessProbe:
    httpGet:
      path: /readyz
      port: metrics
    {{- toYaml .Values.readinessProbe | nindent 4 }}
  {{- end }}
  resources:
    {{- include "image-share-operator.resources" . | nindent 4 }}
  securityContext:
    {{- include "image-share-operator.securityContext" (list . .Values.securityContext) | nindent 4 }}
  {{- if or .Values.extraVolumeMounts .Values.extraCA.configMap .Values.extraCA.secret }}
  volumeMounts:
    {{- with .Values.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- if or .Values.extraCA.configMap .Values.extraCA.secret }}
    - name: ca
      mountPath: /etc/image-share-operator/ca
      readOnly: true
    {{- end }}
  {{- end }}
{{- end -}}

{{/* Pull Secrets of the parent chart, as objects or, for charts of another kind, as names; then those of this chart. */}}
{{- define "image-share-operator.pullSecrets" -}}
{{- $secrets := list -}}
{{- range concat .Values.global.imagePullSecrets .Values.imagePullSecrets -}}
{{- $secrets = append $secrets (kindIs "string" . | ternary (dict "name" .) .) -}}
{{- end -}}
{{- $secrets | uniq | toYaml -}}
{{- end -}}

{{/* Topology spread constraints, each with the selector of the release if it has none. */}}
{{- define "image-share-operator.spread" -}}
{{- $selector := dict "matchLabels" (include "image-share-operator.selectorLabels" . | fromYaml) -}}
{{- range .Values.topologySpreadConstraints }}
- {{ toYaml (merge (deepCopy .) (dict "labelSelector" $selector)) | nindent 2 | trim }}
{{- end }}
{{- end -}}

{{/*
Affinity. By default the replicas prefer other nodes and other zones, one term per key: a term whose
label a node lacks does not apply, and the other term still does. Topology spread constraints ignore
a node that lacks the label of one of them, such as the zone on bare metal.
*/}}
{{- define "image-share-operator.affinity" -}}
{{- $affinity := deepCopy .Values.affinity -}}
{{- if not (or (hasKey $affinity "podAntiAffinity") .Values.topologySpreadConstraints) -}}
{{- $selector := dict "matchLabels" (include "image-share-operator.selectorLabels" . | fromYaml) -}}
{{- $terms := list -}}
{{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" -}}
{{- $term := dict "topologyKey" $key "labelSelector" $selector -}}
{{- if semverCompare ">=1.31.0-0" $.Capabilities.KubeVersion.Version -}}
{{- $_ := set $term "matchLabelKeys" (list "pod-template-hash") -}}{{/* only pods of one ReplicaSet */}}
{{- end -}}
{{- $terms = append $terms (dict "weight" 100 "podAffinityTerm" $term) -}}
{{- end -}}
{{- $_ := set $affinity "podAntiAffinity" (dict "preferredDuringSchedulingIgnoredDuringExecution" $terms) -}}
{{- end -}}
{{- toYaml $affinity -}}
{{- end -}}

{{/* A security context; without the IDs on OpenShift, which sets those of the namespace. */}}
{{- define "image-share-operator.securityContext" -}}
{{- $root := first . -}}
{{- $context := last . -}}
{{- $adapt := $root.Values.global.compatibility.openshift.adaptSecurityContext -}}
{{- $isOpenShift := $root.Capabilities.APIVersions.Has "security.openshift.io/v1" -}}
{{- if or (eq $adapt "force") (and (eq $adapt "auto") $isOpenShift) -}}
{{- $context = omit $context "runAsUser" "runAsGroup" "fsGroup" -}}
{{- end -}}
{{- toYaml $context -}}
{{- end -}}

{{/* Resource requests and limits, without those that are set to "". */}}
{{- define "image-share-operator.resources" -}}
{{- $resources := deepCopy .Values.resources -}}
{{- range $kind := list "requests" "limits" -}}
{{- range $name, $quantity := get $.Values.resources $kind -}}
{{- if eq (toString $quantity) "" -}}
{{- $_ := unset (get $resources $kind) $name -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}
