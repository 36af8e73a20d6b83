// Package scim provisions people, teams and custom roles from outside (RFC 7643, RFC 7644): identity
// providers keep the directory in step through it. It speaks two dialects on one core. Below /scim/ it
// is W&B's own, to which administrators' scripts are written (iam.md section 7); below /scim/v2/ it is
// the standard's, in which W&B's attributes stand under an extension of their own, the only place where
// anything gives a privilege (threat S02).
//
// Callers are organization admins and service accounts of the organization, by their API key (SCIM-3):
// package gateway finds out who calls, authz decides. Every change is one transaction of the directory,
// and one event with what was before and after.
package scim
