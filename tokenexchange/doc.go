// Package tokenexchange turns assertions into principals and access tokens: a JWT of a CI job, a
// workload or a person, signed by an issuer that this organization trusts, is exchanged for a token of
// the gateway's own (RFC 7523 section 2.1, FED-1 to FED-34).
//
//	trusted issuers   from the configuration and from the administrators' record (issuer.go, record.go)
//	presets           what is known of the issuers of well-known workloads (preset.go)
//	proof             what a token proves, checked once and remembered (proof.go, assertion.go, accesstoken.go)
//	subject           whom an assertion is about: a service account or a person (subject.go)
//	exchange          an assertion in, an access token out (exchange.go), and its door (endpoint.go)
//	revocation        of one token, of a principal's, of all before a moment (revoke.go)
//	explanation       check by check, without ever printing a token (explain.go)
//
// A token is neither accepted nor refused while nobody can tell: an issuer or a store that is away is
// iam.KindUnavailable. Every definite refusal has one wording outside; why exactly is in the events.
package tokenexchange
