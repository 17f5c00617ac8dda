{{- define "graftwork.name" -}}
{{- $name := ternary .Release.Name (printf "%s-graftwork" .Release.Name) (contains "graftwork" .Release.Name) -}}
{{- $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "graftwork.selector" -}}
app.kubernetes.io/name: graftwork
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "graftwork.labels" -}}
{{ include "graftwork.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "graftwork.secret" -}}
{{- .Values.existingSecret | default (include "graftwork.name" .) -}}
{{- end -}}

{{/* A container of the image, without its name, arguments and probes. What the chart itself decides of the environment
goes before what `env` says. */}}
{{- define "graftwork.container" -}}
{{- $env := dict "GRAFTWORK_DATA" "/data" "HOME" "/tmp" -}}
{{- with .root.Values.artifactsUrl }}{{ $_ := set $env "GRAFTWORK_ARTIFACTS_URL" . }}{{ end -}}
{{- if .root.Values.predictor.enabled -}}
{{- $predictor := printf "%s-predictor" (include "graftwork.name" .root) -}}
{{- $_ := set $env "GRAFTWORK_PREDICTOR" (eq .part "api" | ternary (printf "http://%s:8000" $predictor) "") -}}
{{- if eq .part "predictor" }}{{ $_ := set $env "GRAFTWORK_ALLOWED_HOSTS" (list $predictor | toJson) }}{{ end -}}
{{- end -}}
image: "{{ .root.Values.image.repository }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}"
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
envFrom:
  - secretRef:
      name: {{ include "graftwork.secret" .root }}
env:
  {{- range $name, $value := merge $env .root.Values.env }}
  - name: {{ $name }}
    value: {{ $value | quote }}
  {{- end }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
volumeMounts:
  - name: data
    mountPath: /data
  - name: tmp
    mountPath: /tmp
  - name: memory
    mountPath: /dev/shm
{{- end -}}
