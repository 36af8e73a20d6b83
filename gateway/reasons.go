package gateway

import "github.com/wandb-gateway/wandb-gateway/internal/iam"

// The reason codes that the gateway itself gives; those of decisions stand in package authz, those
// of reading a request in package wandb.
const (
	ReasonTwoCredentials      iam.Reason = "two_credentials"
	ReasonMalformedCredential iam.Reason = "malformed_credential"
	ReasonNoCredential        iam.Reason = "no_credential"
	ReasonUnknownCredential   iam.Reason = "unknown_credential"
	ReasonTicket              iam.Reason = "ticket"
	ReasonBadTicket           iam.Reason = "bad_ticket"
	ReasonTooManyFailures     iam.Reason = "too_many_failures"
	ReasonUnknownRoute        iam.Reason = "unknown_route"
	ReasonBodyTooLarge        iam.Reason = "body_too_large"
	ReasonBodyUnreadable      iam.Reason = "body_unreadable"
	ReasonNoUpstreamKey       iam.Reason = "no_upstream_key"
	ReasonUpstreamKeyRefused  iam.Reason = "upstream_key_refused"
	ReasonLocalCredential     iam.Reason = "local_credential"
	ReasonTelemetryOff        iam.Reason = "telemetry_off"
	ReasonServerJudges        iam.Reason = "server_judges"
	ReasonAdministeredHere    iam.Reason = "administered_here"
	ReasonNotAlone            iam.Reason = "not_alone"
	ReasonNotConfigured       iam.Reason = "not_configured"
	ReasonCrossSite           iam.Reason = "cross_site"
	ReasonKeyNeeded           iam.Reason = "api_key_needed"
	ReasonKeyWebSocket        iam.Reason = "key_websocket"
	// ReasonServerUnreachable: what was let through got no answer.
	ReasonServerUnreachable iam.Reason = "server_unreachable"
)
