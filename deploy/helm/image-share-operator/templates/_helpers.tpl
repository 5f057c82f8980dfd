{{/*
Sets each value that is null to its default. `replicas:` in a values file is null, and Helm removes
such a value instead of keeping its default. Each template calls this first. files/values.yaml is a
copy of values.yaml, which a template cannot read.
*/}}
{{- define "image-share-operator.defaults" -}}
{{- include "image-share-operator.setDefaults" (list .Values (.Files.Get "files/values.yaml" | fromYaml)) -}}
{{- end -}}

{{- define "image-share-operator.setDefaults" -}}
{{- $values := first . -}}
{{- range $name, $default := last . -}}
{{- $value := index $values $name -}}
{{- if kindIs "invalid" $value -}}
{{- $_ := set $values $name $default -}}
{{- else if and (kindIs "map" $value) (kindIs "map" $default) -}}
{{- include "image-share-operator.setDefaults" (list $value $default) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "image-share-operator.chartName" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Full name of the release, up to 55 characters: the name of the Service ends in "-metrics" and is limited to 63. */}}
{{- define "image-share-operator.name" -}}
{{- $chart := include "image-share-operator.chartName" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 55 | trimSuffix "-" -}}
{{- else if contains $chart .Release.Name -}}
{{- .Release.Name | trunc 55 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $chart | trunc 55 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "image-share-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "image-share-operator.chartName" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "image-share-operator.labels" -}}
{{ include "image-share-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels of the pod of `helm test`, which no selector of the release matches. */}}
{{- define "image-share-operator.testLabels" -}}
app.kubernetes.io/name: {{ include "image-share-operator.chartName" . | trunc 58 | trimSuffix "-" }}-test
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* The labels of an object that has labels of its own, which take precedence over commonLabels. */}}
{{- define "image-share-operator.labelsWith" -}}
{{- toYaml (merge (deepCopy (last .)) (include "image-share-operator.labels" (first .) | fromYaml)) -}}
{{- end -}}

{{- define "image-share-operator.namespace" -}}
{{- .Values.namespaceOverride | default .Release.Namespace -}}
{{- end -}}

{{/* Labels by which Prometheus selects an object; `labels` is the old name of additionalLabels. */}}
{{- define "image-share-operator.monitoringLabels" -}}
{{- $own := merge (deepCopy (last .).additionalLabels) (default dict (last .).labels) -}}
{{- include "image-share-operator.labelsWith" (list (first .) $own) -}}
{{- end -}}

{{/* `replicas` is the old name of replicaCount. */}}
{{- define "image-share-operator.replicas" -}}
{{- $old := .Values.replicas -}}
{{- if kindIs "invalid" $old }}{{ .Values.replicaCount }}{{ else }}{{ $old }}{{ end -}}
{{- end -}}

{{- define "image-share-operator.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "image-share-operator.name" .) -}}
{{- end -}}

{{/* Image reference: repository with digest, or with tag if there is no digest. */}}
{{- define "image-share-operator.image" -}}
{{- $repository := required "image.repository is required: set it to the repository of the operator image, such as registry.example.com/image-share-operator" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* Rules of the operator for a Role: all but the rule for CRDs, which are cluster-scoped. */}}
{{- define "image-share-operator.namespacedRules" -}}
{{- range .Files.Get "files/clusterrole-rules.yaml" | fromYamlArray -}}
{{- if not (has "customresourcedefinitions" .resources) }}
- {{ toYaml . | nindent 2 | trim }}
{{- end }}
{{- end -}}
{{- end -}}

{{/* The rule for tokens of ServiceAccounts, if it is enabled. */}}
{{- define "image-share-operator.tokenRules" -}}
{{- if .Values.rbac.serviceAccountTokens }}
{{- .Files.Get "files/token-rules.yaml" | trim }}
{{- end }}
{{- end -}}

{{/* Name of the Lease, as the operator derives it: each shard has its own Lease. */}}
{{- define "image-share-operator.lease" -}}
{{- $shard := splitList "/" .Values.settings.shard -}}
{{- include "image-share-operator.name" . -}}
{{- if ne (last $shard) "1" }}-{{ first $shard }}{{ end -}}
{{- end -}}

{{/* Rules for leader election, limited to the Lease of this release. */}}
{{- define "image-share-operator.leaseRules" -}}
{{- range .Files.Get "files/lease-rules.yaml" | fromYamlArray -}}
{{- if not (has "create" .verbs) -}}
{{- $_ := set . "resourceNames" (list (include "image-share-operator.lease" $)) -}}
{{- end }}
- {{ toYaml . | nindent 2 | trim }}
{{- end -}}
{{- end -}}

{{/* Subjects of a role binding. */}}
{{- define "image-share-operator.subjects" -}}
subjects:
  - kind: ServiceAccount
    name: {{ include "image-share-operator.serviceAccount" . }}
    namespace: {{ include "image-share-operator.namespace" . }}
{{- end -}}
