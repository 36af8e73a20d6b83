{{- define "wandb-gateway.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 63 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "wandb-gateway.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "wandb-gateway.labels" -}}
{{ include "wandb-gateway.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "wandb-gateway.secret" -}}
{{ .Values.existingSecret | default (include "wandb-gateway.name" .) }}
{{- end }}

{{- define "wandb-gateway.caddyfile" -}}
{{- if .Values.caddyfile -}}
{{ .Values.caddyfile }}
{{- else -}}
{{- if not .Values.trustedProxies }}{{ fail "trustedProxies: the networks of the ingress controller's pods" }}{{ end -}}
{
	persist_config off
	grace_period 30s
	metrics

	servers {
		trusted_proxies static {{ join " " .Values.trustedProxies }}
		trusted_proxies_strict
		client_ip_headers X-Forwarded-For
	}

	wandb_gateway {
		organization {{ .Values.organization }}
		{{- if .Values.redis.url }}
		store redis {{ .Values.redis.url }} {
			{{- with .Values.redis.username }}
			username {{ . }}
			{{- end }}
			password {env.GATEWAY_REDIS_PASSWORD}
		}
		{{- else }}
		store embedded /data/store
		{{- end }}
		{{- if eq .Values.directory "wandb" }}
		directory wandb {{ required "upstream: the address of the W&B server, such as http://wandb.wandb.svc:8080" .Values.upstream }}
		{{- else if eq .Values.directory "local" }}
		directory local
		{{- else }}
		{{- fail "directory is wandb or local" }}
		{{- end }}
		enforcement {{ .Values.enforcement }}
		{{- with .Values.settings }}
		{{- . | trim | nindent 2 | replace "\n  " "\n\t\t" }}
		{{- end }}
	}
}

:8080 {
	log
	log_append username {http.auth.user.username}

	wandb_gateway {
		{{- if eq .Values.upstreamCredential "api_key" }}
		upstream_credential api_key {env.WANDB_SERVICE_KEY}
		{{- else }}
		upstream_credential {{ .Values.upstreamCredential }}
		{{- end }}
	}

	reverse_proxy {{ required "upstream: the address of the W&B server, such as http://wandb.wandb.svc:8080" .Values.upstream }}
}

:9180 {
	metrics /metrics
}
{{- end }}
{{- end }}
