package oidc

import (
	"net/netip"
	"net/url"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/remote"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

const maxURLBytes = 2048

// parseIssuer checks the configured issuer. Its exact bytes count ever after (threats J10). Issuers that
// can never work are refused with what to write instead.
func parseIssuer(issuer string, method Method) (*url.URL, error) {
	if err := remote.ValidIssuerURL(issuer); err != nil {
		return nil, err
	}
	u, err := url.Parse(issuer)
	if err != nil {
		return nil, iam.Invalidf("the issuer %s is no URL", untrusted.Quote(issuer))
	}
	if strings.Contains(u.Path, "/.well-known/") {
		return nil, iam.Invalidf("the issuer %s is the address of a document: write what stands before /.well-known", untrusted.Quote(issuer))
	}
	host := strings.ToLower(u.Hostname())
	tenant, _, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	switch {
	case microsoft(host) && (tenant == "common" || tenant == "organizations" || tenant == "consumers"):
		// Tokens come from the tenant of each person, so that any tenant of the world could sign in.
		return nil, iam.Invalidf("the issuer %s stands for every tenant of Microsoft Entra: write the id of your own tenant for %q, as in https://%s/<tenant id>/v2.0", untrusted.Quote(issuer), tenant, host)
	case strings.HasSuffix(host, ".amazoncognito.com"):
		return nil, iam.Invalidf("the issuer %s is a Cognito domain: write https://cognito-idp.<region>.amazonaws.com/<user pool id>", untrusted.Quote(issuer))
	case cognito(host) && method == Implicit:
		return nil, iam.Invalidf("Amazon Cognito does not post ID tokens: use the authentication method pkce with the issuer %s", untrusted.Quote(issuer))
	}
	return u, nil
}

// issuerAt returns what the provider at an address calls itself: the address, but for version 1.0 of
// Microsoft Entra, which has the discovery document below its log-in host and calls itself
// https://sts.windows.net/<tenant id>/ there and in its tokens (OIDC-17).
func issuerAt(address string) string {
	tenant, ok := strings.CutPrefix(address, "https://login.microsoftonline.com/")
	tenant = strings.ToLower(strings.TrimSuffix(tenant, "/"))
	if !ok || !uuid(tenant) {
		return address
	}
	return "https://sts.windows.net/" + tenant + "/"
}

// microsoft reports whether a host signs people in to Microsoft Entra, of the world or a national cloud.
func microsoft(host string) bool {
	switch host {
	case "login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn",
		"login.chinacloudapi.cn", "login.windows.net", "sts.windows.net":
		return true
	}
	return false
}

func cognito(host string) bool {
	return strings.HasPrefix(host, "cognito-idp.") &&
		(strings.HasSuffix(host, ".amazonaws.com") || strings.HasSuffix(host, ".amazonaws.com.cn"))
}

func uuid(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case '0' <= c && c <= '9', 'a' <= c && c <= 'f':
		default:
			return false
		}
	}
	return true
}

// loopback reports whether a URL cannot lead off this machine. Names are not looked up: what they lead
// to may change.
func loopback(u *url.URL) bool {
	host := u.Hostname()
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
