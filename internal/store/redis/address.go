package redis

import (
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// kind says what answers at an address.
type kind uint8

const (
	standalone kind = iota
	sentinel
	cluster
)

// Address is a parsed URL. It prints itself without user and password.
type Address struct {
	kind     kind
	unix     bool
	tls      bool
	hosts    []string // host:port, or the path of a socket
	master   string   // of Sentinel
	db       int
	username string
	password iam.Secret

	sentinelUsername string
	sentinelPassword iam.Secret

	dialTimeout, readTimeout, writeTimeout time.Duration
	poolSize, minIdle                      int
}

// String names the hosts.
func (a Address) String() string {
	hosts := strings.Join(a.hosts, ",")
	if a.kind == sentinel {
		return "master " + a.master + " of " + hosts
	}
	return hosts
}

const (
	defaultPort         = "6379"
	defaultSentinelPort = "26379"
	maxHosts            = 100
)

var errUnreadable = iam.Invalidf("store redis: the address cannot be read; write `redis://HOST:6379/0`, " +
	"and a password with special characters in the block: `password {env.REDIS_PASSWORD}`")

// ParseAddress reads where a store is:
//
//	redis://[user:password@]host[:6379][/db]              one server; a node of a Cluster is noticed
//	rediss://...                                          the same with TLS, as in all other forms
//	unix:///path/to/socket[?db=n]
//	redis+sentinel://host[:26379],host,.../master[/db]    the master of that name
//	redis://host:26379?master_name=master[&addr=host:port]...
//	redis+cluster://host[:6379],host,...                  a Cluster, found through any of these
//	redis://host:6379?addr=host:port[&addr=...]           the same
//
// redis-sentinel and redis-cluster are taken like redis+sentinel and redis+cluster. Options stand in
// the query: username, password, db, sentinel_username, sentinel_password, dial_timeout,
// read_timeout, write_timeout, pool_size, min_idle_conns. User and password before the hosts are
// those of the servers; with a password in the query they are Sentinel's. Errors are of
// iam.KindInvalid and repeat nothing that may be a password.
func ParseAddress(s string) (Address, error) {
	var a Address
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return a, errUnreadable
	}
	if err := a.setScheme(scheme); err != nil {
		return a, err
	}
	// The list of hosts is no URL to net/url.
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	u, err := url.Parse(tail)
	if err != nil {
		return a, errUnreadable
	}
	options, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return a, errUnreadable
	}
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		if err := a.setUser(authority[:i]); err != nil {
			return a, err
		}
		authority = authority[i+1:]
	}
	if a.unix {
		if authority != "" || u.Path == "" {
			return a, errUnreadable
		}
		a.hosts = []string{u.Path}
		return a, a.setOptions(options)
	}
	if err := a.setPath(u.Path, u.Fragment); err != nil {
		return a, err
	}
	hosts := append(strings.Split(authority, ","), options["addr"]...)
	delete(options, "addr")
	if err := a.setOptions(options); err != nil {
		return a, err
	}
	if a.kind == standalone && len(hosts) > 1 {
		a.kind = cluster
	}
	if err := a.setHosts(hosts); err != nil {
		return a, err
	}
	return a, a.check()
}

func (a *Address) setScheme(scheme string) error {
	name, kind := scheme, ""
	if i := strings.IndexAny(scheme, "+-"); i >= 0 {
		name, kind = scheme[:i], scheme[i+1:]
	}
	switch name {
	case "redis", "valkey":
	case "rediss", "valkeys":
		a.tls = true
	case "unix":
		a.unix = true
	default:
		return errUnreadable
	}
	switch kind {
	case "":
	case "sentinel":
		a.kind = sentinel
	case "cluster":
		a.kind = cluster
	default:
		return errUnreadable
	}
	if a.unix && a.kind != standalone {
		return errUnreadable
	}
	return nil
}

func (a *Address) setUser(info string) error {
	name, password, _ := strings.Cut(info, ":")
	var err error
	if a.username, err = url.PathUnescape(name); err != nil {
		return errUnreadable
	}
	if password, err = url.PathUnescape(password); err != nil {
		return errUnreadable
	}
	a.password = iam.NewSecret(password)
	return nil
}

// setPath reads the number of the database and, for Sentinel, the name of the master.
func (a *Address) setPath(path, fragment string) error {
	a.master = fragment
	for part := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		db, err := strconv.Atoi(part)
		switch {
		case part == "":
		case err == nil:
			a.db = db
		case a.kind == sentinel && a.master == "":
			a.master = part
		default:
			return errUnreadable
		}
	}
	return nil
}

func (a *Address) setOptions(options url.Values) error {
	for name, values := range options {
		value := values[len(values)-1]
		var err error
		switch name {
		case "master_name":
			a.kind, a.master = sentinel, value
		case "username":
			a.username, a.sentinelUsername = value, a.username
		case "password":
		case "sentinel_username":
			a.sentinelUsername = value
		case "sentinel_password":
			a.sentinelPassword = iam.NewSecret(value)
		case "db":
			a.db, err = strconv.Atoi(value)
		case "pool_size":
			a.poolSize, err = strconv.Atoi(value)
		case "min_idle_conns":
			a.minIdle, err = strconv.Atoi(value)
		case "dial_timeout":
			a.dialTimeout, err = parseTimeout(value)
		case "read_timeout":
			a.readTimeout, err = parseTimeout(value)
		case "write_timeout":
			a.writeTimeout, err = parseTimeout(value)
		case "skip_verify":
			return iam.Invalidf("store redis: skip_verify is not taken, for then anybody can be the server; name its certificates: `tls_ca FILE`")
		default:
			return iam.Invalidf("store redis: the address has the option %.80q, which is not known", name)
		}
		if err != nil {
			return iam.Invalidf("store redis: the option %s of the address has a wrong value", name)
		}
	}
	if password := options.Get("password"); password != "" {
		if a.kind == sentinel && a.sentinelPassword.IsZero() {
			a.sentinelPassword = a.password
		}
		a.password = iam.NewSecret(password)
	}
	return nil
}

// parseTimeout reads a duration, or a number of seconds.
func parseTimeout(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if n, numeric := strconv.Atoi(s); numeric == nil {
		d, err = time.Duration(n)*time.Second, nil
	}
	if err == nil && (d <= 0 || d > time.Minute) {
		err = iam.Invalidf("not between 0 and 1m")
	}
	return d, err
}

func (a *Address) setHosts(hosts []string) error {
	port := defaultPort
	if a.kind == sentinel {
		port = defaultSentinelPort
	}
	if len(hosts) > maxHosts {
		return iam.Invalidf("store redis: the address has more than %d hosts; a few are enough to find the others", maxHosts)
	}
	for _, host := range hosts {
		// A host may lack its port, an IPv6 address in brackets its colon.
		u, err := url.Parse("//" + host)
		if err != nil || u.Hostname() == "" || u.Host != host || strings.ContainsAny(u.Hostname(), " \t\r\n@") {
			return errUnreadable
		}
		if u.Port() == "" {
			a.hosts = append(a.hosts, net.JoinHostPort(u.Hostname(), port))
			continue
		}
		if n, err := strconv.ParseUint(u.Port(), 10, 16); err != nil || n == 0 {
			return errUnreadable
		}
		a.hosts = append(a.hosts, net.JoinHostPort(u.Hostname(), u.Port()))
	}
	return nil
}

func (a *Address) check() error {
	switch {
	case a.db < 0 || a.db > 1<<20:
		return iam.Invalidf("store redis: the address has a wrong number of a database")
	case a.kind == cluster && a.db != 0:
		return iam.Invalidf("store redis: a Cluster has only database 0; leave the number away")
	case a.kind == sentinel && a.master == "":
		return iam.Invalidf("store redis: the address names no master; write `redis+sentinel://HOST:26379/MASTER`, with the name that Sentinel knows it by")
	case a.poolSize < 0 || a.poolSize > 10_000 || a.minIdle < 0 || a.minIdle > 10_000:
		return iam.Invalidf("store redis: pool_size and min_idle_conns are between 0 and 10000")
	}
	return nil
}
