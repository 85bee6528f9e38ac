{{- define "transship.name" -}}
{{ .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /* The release and the chart, but not the same word twice. */ -}}
{{- define "transship.fullname" -}}
{{- $name := include "transship.name" . -}}
{{- $both := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{ .Values.fullnameOverride | default $both | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "transship.serviceAccountName" -}}
{{ .Values.serviceAccount.name | default (.Values.serviceAccount.create | ternary (include "transship.fullname" .) "default") }}
{{- end }}

{{- /* An image by digest, or else by tag. */ -}}
{{- define "transship.reference" -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag }}{{ end }}
{{- end }}

{{- define "transship.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- /* The filter of system calls for builders: the one that the chart brings onto nodes, if it brings one. */ -}}
{{- define "transship.builderSeccomp" -}}
{{- $install := .Values.seccompProfile.install -}}
{{- $ofOperator := printf "operator/%s-seccomp-profile.json" (include "transship.fullname" .) -}}
{{- $path := get (dict "DaemonSet" "transship/build.json" "SecurityProfilesOperator" $ofOperator) $install -}}
{{- $wanted := .Values.builderSeccomp -}}
{{- $installed := printf "Localhost/%s" $path -}}
{{- if and $path (not (has $wanted (list "Unset" $installed))) -}}
{{- fail (printf "builderSeccomp is %s, but seccompProfile.install=%s is for %s: leave builderSeccomp at Unset, or seccompProfile.install at None" $wanted $install $installed) -}}
{{- end -}}
{{ $path | empty | ternary $wanted $installed }}
{{- end }}

{{- define "transship.selectorLabels" -}}
app.kubernetes.io/name: {{ include "transship.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "transship.labels" -}}
{{ include "transship.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: controller
app.kubernetes.io/part-of: transship
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- /* The labels, and those of the user that are not ours: (list . USERS). */ -}}
{{- define "transship.labelsAnd" -}}
{{ merge (include "transship.labels" (first .) | fromYaml) (last .) | toYaml }}
{{- end }}
