package redis

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

const (
	// tryAgain is the pause between attempts to reach a server at start.
	tryAgain = 250 * time.Millisecond
	// tryTimeout bounds one attempt.
	tryTimeout = 3 * time.Second
	// dialTimeout bounds one connection.
	dialTimeout = 2 * time.Second
	// answerTimeout bounds one answer, where the operation's own limit is not shorter: a commit of tens
	// of thousands of records takes its time.
	answerTimeout = 15 * time.Second
	// clusterReload is how old the map of a Cluster may become.
	clusterReload = 2 * time.Second
)

// quiet: the client's own log has no levels and no form; what matters comes back as errors.
var quiet = sync.OnceFunc(logging.Disable)

// connect returns a client of a server that was reached and looked at.
func connect(ctx context.Context, a Address, roots *x509.CertPool, n names) (goredis.UniversalClient, Address, []string, error) {
	quiet()
	client := newClient(a, roots)
	for {
		found, warnings, err := inspect(ctx, client, a, n)
		var other kindError
		switch {
		case err == nil:
			return client, a, warnings, nil
		case errors.As(err, &other) && found != a.kind:
			// The address of one node stands for the whole Cluster.
			client.Close()
			a.kind = found
			client = newClient(a, roots)
			continue
		case definite(err):
			client.Close()
			return nil, a, nil, refuse(a, err)
		}
		select {
		case <-time.After(tryAgain):
		case <-ctx.Done():
			client.Close()
			return nil, a, nil, refuse(a, err)
		}
	}
}

// refuse is the error of a start without a store.
func refuse(a Address, err error) error {
	if e, ok := errors.AsType[*iam.Error](err); ok {
		return e
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = errors.New("no answer in time")
	}
	message := fmt.Sprintf("the Redis server at %s cannot be used: look whether it runs there and can be reached from here", a)
	switch {
	case isAuth(err):
		message = fmt.Sprintf("the Redis server at %s does not let this gateway in: look at user and password of `store redis`", a)
	case isForbidden(err):
		message = fmt.Sprintf("the Redis server at %s does not let this user do what the gateway needs: give it `~PREFIX* &PREFIX* +@read +@write +@scripting +@pubsub +@connection +info +config|get +acl|dryrun +cluster +time`", a)
	case isCertificate(err):
		message = fmt.Sprintf("the certificate of the Redis server at %s is not trusted: name the file with the certificate of who issued it, `tls_ca FILE`", a)
	}
	return &iam.Error{Kind: iam.KindUnavailable, Reason: "store_redis", Message: message, Err: err}
}

// definite reports whether trying again does not help.
func definite(err error) bool {
	if _, ok := errors.AsType[*iam.Error](err); ok {
		return true
	}
	return isAuth(err) || isCertificate(err) || isForbidden(err) || goredis.HasErrorPrefix(err, "DB index")
}

func isAuth(err error) bool {
	for _, prefix := range []string{"WRONGPASS", "NOAUTH", "AUTH ", "Client sent AUTH", "invalid password", "invalid username"} {
		if goredis.HasErrorPrefix(err, prefix) {
			return true
		}
	}
	return false
}

// isForbidden reports whether the user may not do it; what a script may not do has no code of its own.
func isForbidden(err error) bool {
	return goredis.HasErrorPrefix(err, "NOPERM") || goredis.HasErrorPrefix(err, "The user executing the script")
}

func isCertificate(err error) bool {
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	_, plain := errors.AsType[tls.RecordHeaderError](err)
	return untrusted || plain
}

// newClient returns a client, which connects when it is used. It repeats what failed on the way,
// which commits allow for.
func newClient(a Address, roots *x509.CertPool) goredis.UniversalClient {
	var security *tls.Config
	if a.tls {
		security = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12} // the name is each host's own
	}
	dial := cmp.Or(a.dialTimeout, dialTimeout)
	read, write := cmp.Or(a.readTimeout, answerTimeout), cmp.Or(a.writeTimeout, answerTimeout)
	const (
		retries     = 2
		dialRetries = 1
		noPool      = -1 // for pipelines, of which there are none
	)
	switch a.kind {
	case sentinel:
		return goredis.NewFailoverClient(&goredis.FailoverOptions{
			MasterName: a.master, SentinelAddrs: a.hosts, DB: a.db, TLSConfig: security,
			Username: a.username, Password: a.password.Reveal(),
			SentinelUsername: a.sentinelUsername, SentinelPassword: a.sentinelPassword.Reveal(),
			MaxRetries: retries, DialerRetries: dialRetries, PipelinePoolSize: noPool, ContextTimeoutEnabled: true,
			DialTimeout: dial, ReadTimeout: read, WriteTimeout: write, PoolSize: a.poolSize, MinIdleConns: a.minIdle,
		})
	case cluster:
		return goredis.NewClusterClient(&goredis.ClusterOptions{
			Addrs: a.hosts, TLSConfig: security, Username: a.username, Password: a.password.Reveal(),
			MaxRetries: retries, DialerRetries: dialRetries, PipelinePoolSize: noPool, ContextTimeoutEnabled: true,
			DialTimeout: dial, ReadTimeout: read, WriteTimeout: write, PoolSize: a.poolSize, MinIdleConns: a.minIdle,
			ClusterStateReloadInterval: clusterReload, DisableRoutingPolicies: true,
			MaintNotificationsConfig: noMaintenance(),
		})
	case standalone:
	}
	network := "tcp"
	if a.unix {
		network = "unix"
	}
	return goredis.NewClient(&goredis.Options{
		Network: network, Addr: a.hosts[0], DB: a.db, TLSConfig: security,
		Username: a.username, Password: a.password.Reveal(),
		MaxRetries: retries, DialerRetries: dialRetries, PipelinePoolSize: noPool, ContextTimeoutEnabled: true,
		DialTimeout: dial, ReadTimeout: read, WriteTimeout: write, PoolSize: a.poolSize, MinIdleConns: a.minIdle,
		MaintNotificationsConfig: noMaintenance(),
	})
}

// noMaintenance saves a question to every new connection that only one vendor's servers understand.
func noMaintenance() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

// eachMaster calls f with every server that may be written to, one after the other.
func eachMaster(ctx context.Context, client goredis.UniversalClient, f func(context.Context, goredis.Cmdable) error) error {
	clustered, ok := client.(*goredis.ClusterClient)
	if !ok {
		return f(ctx, client)
	}
	var mu sync.Mutex
	return clustered.ForEachMaster(ctx, func(ctx context.Context, node *goredis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		return f(ctx, node)
	})
}

// kindError says that something else answers than the address promised.
type kindError struct{ found kind }

func (kindError) Error() string { return "the server is of another kind" }

// inspect reaches the server, asks what it is, whether the user may do what the gateway does, and
// which of its settings may lose records.
func inspect(ctx context.Context, client goredis.UniversalClient, a Address, n names) (kind, []string, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	if a.kind == standalone {
		if err := client.Ping(ctx).Err(); err != nil {
			return 0, nil, err
		}
		switch mode(ctx, client) {
		case "cluster":
			return cluster, nil, kindError{cluster}
		case "sentinel":
			return 0, nil, iam.Invalidf("store redis: at %s answers a Sentinel, not a server; write `redis+sentinel://%s/MASTER`, with the name that it knows the master by", a, a)
		}
	}
	if err := rehearse(ctx, client, n); err != nil {
		return a.kind, nil, err
	}
	var all []string
	err := eachMaster(ctx, client, func(ctx context.Context, node goredis.Cmdable) error {
		warnings, err := checkSettings(ctx, node, a, n)
		for _, w := range warnings {
			if !contains(all, w) {
				all = append(all, w)
			}
		}
		return err
	})
	return a.kind, all, err
}

func contains(all []string, s string) bool {
	for _, other := range all {
		if other == s {
			return true
		}
	}
	return false
}

// mode returns redis_mode of a server; "" if it does not tell.
func mode(ctx context.Context, client goredis.Cmdable) string {
	info, err := client.Info(ctx, "server").Result()
	if err != nil {
		return ""
	}
	return infoField(info, "redis_mode")
}

func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			return value
		}
	}
	return ""
}

// rehearse does once what commits and watching do, in a space that stays empty: whatever a user of
// Redis may not do is found at start.
func rehearse(ctx context.Context, client goredis.UniversalClient, n names) error {
	const space = "!"
	if err := headScript.Run(ctx, client, []string{n.head(space), n.probe(space)}).Err(); err != nil {
		return readOnly(err)
	}
	for _, command := range [][]any{
		{"hlen", n.records(space)}, {"zcard", n.index(space)},
		{"hdel", n.records(space), "x"}, {"zrem", n.index(space), "x"},
		{"publish", n.changes(space), ""},
	} {
		if err := client.Do(ctx, command...).Err(); err != nil {
			return err
		}
	}
	subscription := client.Subscribe(ctx, n.changes(space))
	defer subscription.Close()
	_, err := subscription.Receive(ctx)
	return err
}

// readOnly names what a server is that does not take writes.
func readOnly(err error) error {
	if strings.Contains(err.Error(), "READONLY") {
		return fmt.Errorf("it is a replica, which takes no writes: name the master: %w", err)
	}
	return err
}

// checkSettings looks at what the server does with records when memory or power ends.
func checkSettings(ctx context.Context, node goredis.Cmdable, a Address, n names) (warnings []string, err error) {
	settings, err := readSettings(ctx, node)
	if err != nil {
		return nil, err
	}
	policy, known := settings["maxmemory-policy"]
	switch {
	case !known:
		warnings = append(warnings, fmt.Sprintf("the Redis server at %s does not tell its maxmemory-policy: make sure that it is noeviction, for any other gives up users and keys when memory is full; `ACL SETUSER ... +config|get +info` lets the gateway look", a))
	case policy != "noeviction":
		return nil, &iam.Error{Kind: iam.KindInvalid, Reason: "store_evicts",
			Message: fmt.Sprintf("the Redis server at %s has maxmemory-policy %s, with which it gives up users and keys when memory is full: set it to noeviction (`CONFIG SET maxmemory-policy noeviction`, and in its configuration), or use a server of its own", a, policy)}
	}
	appendOnly, knownAppend := settings["appendonly"]
	save, knownSave := settings["save"]
	switch {
	case appendOnly == "yes" || knownSave && save != "":
	case knownAppend && knownSave:
		warnings = append(warnings, fmt.Sprintf("the Redis server at %s keeps nothing on disk: all users and keys are lost when it restarts; set `appendonly yes`", a))
	default:
		warnings = append(warnings, fmt.Sprintf("the Redis server at %s does not tell whether it keeps its records on disk: make sure that it has `appendonly yes`; `ACL SETUSER ... +config|get +info` lets the gateway look", a))
	}
	if settings["replicas"] != "" && settings["replicas"] != "0" && settings["min-replicas-to-write"] == "0" {
		warnings = append(warnings, fmt.Sprintf("the Redis server at %s acknowledges changes that no replica has: a failover can lose them, revocations included; set `min-replicas-to-write 1`", a))
	}
	if appendOnly == "yes" && a.username != "" {
		warning, err := checkReplay(ctx, node, a, n)
		if err != nil {
			return nil, err
		}
		if warning != "" {
			warnings = append(warnings, warning)
		}
	}
	if err := node.Time(ctx).Err(); err != nil {
		if !answered(err) {
			return nil, err
		}
		warnings = append(warnings, fmt.Sprintf("the Redis server at %s does not let this user ask for its time, so that wandb_gateway_store_propagation_seconds tells no more than upper bounds: `ACL SETUSER ... +time`", a))
	}
	return warnings, nil
}

// checkReplay asks whether a restart would bring back what commits wrote. Redis replays its append-only
// file as the user default, and drops the transactions in it, of which commits are made, without a word
// if that user may not do what is in them (redis/redis#14541).
func checkReplay(ctx context.Context, node goredis.Cmdable, a Address, n names) (warning string, err error) {
	const space = "!"
	for _, command := range [][]any{{"multi"}, {"hset", n.records(space), "x", "x"}} {
		may, err := node.ACLDryRun(ctx, "default", command...).Result()
		switch {
		case goredis.HasErrorPrefix(err, "NOPERM"):
			return fmt.Sprintf("the Redis server at %s does not tell what its user default may do: if that user is switched off, make sure that it is by `user default off +@all ~* &*`, for else a restart loses all users and keys; `ACL SETUSER ... +acl|dryrun` lets the gateway look", a), nil
		case err != nil && answered(err): // older than ACL DRYRUN
			return "", nil
		case err != nil:
			return "", err
		case may != "OK":
			return fmt.Sprintf("the Redis server at %s will lose all users and keys when it restarts: its user default may not repeat what stands in the append-only file; write `user default off +@all ~* &*`, which lets nobody in", a), nil
		}
	}
	return "", nil
}

// readSettings returns the settings that the server tells; CONFIG is closed to many users and at many
// vendors, INFO to fewer.
func readSettings(ctx context.Context, node goredis.Cmdable) (map[string]string, error) {
	settings := make(map[string]string)
	info, err := node.Info(ctx, "memory").Result()
	if err == nil {
		setIf(settings, "maxmemory-policy", infoField(info, "maxmemory_policy"))
		if info, err = node.Info(ctx, "persistence").Result(); err == nil && infoField(info, "aof_enabled") == "1" {
			settings["appendonly"] = "yes"
		}
	}
	if err == nil {
		if info, err = node.Info(ctx, "replication").Result(); err == nil {
			setIf(settings, "replicas", infoField(info, "connected_slaves"))
		}
	}
	if err != nil && !answered(err) {
		return nil, err
	}
	for _, name := range []string{"maxmemory-policy", "appendonly", "save", "min-replicas-to-write"} {
		found, err := node.ConfigGet(ctx, name).Result()
		if err != nil {
			if !answered(err) {
				return nil, err
			}
			break
		}
		for name, value := range found {
			settings[strings.ToLower(name)] = value
		}
	}
	return settings, nil
}

func setIf(settings map[string]string, name, value string) {
	if value != "" {
		settings[name] = value
	}
}

// answered reports whether the server answered, if only that it will not tell.
func answered(err error) bool {
	_, ok := errors.AsType[goredis.Error](err)
	return ok && !goredis.HasErrorPrefix(err, "LOADING") && !goredis.HasErrorPrefix(err, "MASTERDOWN")
}
