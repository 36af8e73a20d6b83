package ldap

import (
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// maxAddressBytes bounds what is read as an address: a name of the DNS has 253.
const maxAddressBytes = 300

// address is where the directory listens.
type address struct {
	tls  bool   // ldaps: TLS from the first byte
	host string // a name in lower case or an IP address, without brackets; the server's certificate must bear it
	port string
}

// parseAddress reads ldap://host[:port], ldaps://host[:port], or host[:port] for ldap://.
func parseAddress(s string) (address, error) {
	if s == "" {
		return address{}, iam.Invalidf("the directory has no address: give one such as ldaps://ldap.example.com:636")
	}
	if len(s) > maxAddressBytes {
		return address{}, iam.Invalidf("the directory's address has %d bytes, %d are allowed", len(s), maxAddressBytes)
	}
	scheme, rest, found := strings.Cut(s, "://")
	if !found {
		scheme, rest = "ldap", s
	}
	a := address{}
	port := ""
	switch strings.ToLower(scheme) {
	case "ldap":
		port = "389"
	case "ldaps":
		a.tls, port = true, "636"
	default:
		return address{}, iam.Invalidf("the directory's address %q begins with neither ldap:// nor ldaps://", s)
	}
	u, err := url.Parse("ldap://" + rest)
	if err != nil || u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery || strings.Contains(rest, "#") {
		return address{}, iam.Invalidf("the directory's address %q is more or less than a host and a port: give one such as ldaps://ldap.example.com:636, and the base DN as a setting of its own", s)
	}
	a.host = strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	if !validHost(a.host) {
		return address{}, iam.Invalidf("the directory's address %q names no host", s)
	}
	a.port = port
	if text := u.Port(); text != "" || strings.HasSuffix(u.Host, ":") {
		number, err := strconv.ParseUint(text, 10, 16)
		if err != nil || number == 0 {
			return address{}, iam.Invalidf("the port in the directory's address %q is none of 1 to 65535", s)
		}
		a.port = strconv.FormatUint(number, 10)
	}
	return a, nil
}

func validHost(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Zone() == ""
	}
	if host == "" || host[0] == '.' || strings.Contains(host, "..") {
		return false
	}
	for i := range len(host) {
		switch c := host[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '.', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// loopback reports whether the address cannot lead off this machine. Names are not looked up: what
// they lead to may change.
func (a address) loopback() bool {
	if a.host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(a.host)
	return err == nil && ip.Unmap().IsLoopback()
}

// dial returns the address for net.Dial.
func (a address) dial() string { return net.JoinHostPort(a.host, a.port) }

// issuer returns the directory's stable name in an Identity. How the connection is secured is no
// part of it, so that going over to StartTLS makes nobody a stranger.
func (a address) issuer(base string) string {
	return (&url.URL{Scheme: "ldap", Host: a.dial(), Path: "/" + base}).String()
}
