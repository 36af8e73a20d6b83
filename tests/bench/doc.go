// Command bench measures what the gateway costs beside plain Caddy (design section 9), and what one kind
// of credential costs beside another:
//
//	go run ./tests/bench
//
// # How it measures
//
// Both sides are the same binary with the same upstream behind it. "plain" has reverse_proxy alone,
// "gateway" has wandb_gateway in front of it, with directory local in an embedded store that iam import
// filled. Both get the same bytes over loopback, with API keys that the gateway has seen before. The two
// proxies share one core, of which each has all while it is measured; the upstream and the load
// share another.
//
// For every work load there are several rounds, and in each of them both sides are measured one
// after the other, in an order that alternates, so that what disturbs the machine disturbs both. A
// ratio is taken within each round; the table shows their median and range beside the medians, and the
// ratio of the best rounds, since others on the machine only ever cost time. Ratios
// of throughput and CPU are turned so that 1.00 is free and less is a cost; ratios of latency and
// memory are gateway to plain.
//
// CPU time is what the kernel's scheduler counted for all threads of the proxy, user and system, so
// the system calls of both connections are in it. The closed loop keeps a fixed number of
// connections busy with one request each. The open loop sends at a fixed rate, whatever the
// answers do: a request that could not be sent when it was due because its connection still waited
// is timed from when it was due.
//
// Before anything is timed, every request is sent to both sides and the answers are compared with
// what the upstream gives, and the gateway must refuse an unknown key and a stranger's project: a gate
// that stands open is not worth timing. A failed request or an unexpected answer while measuring
// makes the command fail.
//
// # Credentials
//
// On the gateway alone, kinds of credentials are compared in the same way, with API keys as the measure:
// access tokens, assertions in the place of a key, and sessions of browsers that signed in at a stand-in
// provider. The issuer of assertions is a local one that signs with RS256,
// and whose keys are fetched. Exchanges of assertions that nobody has seen stand beside exchanges of
// such as the gateway knows; the new ones are signed before anything is measured, and each is sent once.
// At last, valid requests with access tokens stand beside the same requests while others send bogus
// tokens: right in issuer and key id, with signatures that are invented, half of them to be exchanged
// and half as credentials. The flood comes from the core of the load, so that the clients' part in a
// latency grows with it.
//
// # Where the facts come from
//
// The gateway in its own file is the measure for two others with the same people and keys: one whose store
// is a Redis server (Debian's, with an append-only file, on the core of the load), and one to which a
// stand-in W&B server says who is who (`directory wandb`; in this process). All have seen every key before,
// so that what is compared are cached facts: the store is asked a few times a second for its revision, the
// W&B server hardly at all.
//
// # API keys in Redis
//
//	go run ./tests/bench -keys-in-redis 1000000
//
// does something else: it imports so many keys, with their people, teams and projects, into a Redis server,
// and 1,000 into another, with the gateway's own code and no gateway. It prints what the keys added to the
// memory of Redis and to its file, and compares in rounds how long it takes to read the record of a key, to
// find the caller of whom nothing is cached, and to make a key.
//
// # A large organization
//
//	go run ./tests/bench -large 1000000
//
// does something else, too: it holds a gateway with so many API keys, of a tenth as many people with as many
// projects, to one with 10,000 keys and 1,000 people and projects, both with an embedded store that `iam
// import` filled in parts. It times how each starts, which reads its whole file, until the first caller is
// answered; then requests of the same number of callers, spread over all; then what an identity provider asks
// by SCIM, with the key of an admin: pages, filters that look somebody up and one that looks at everybody,
// reading one person, and deactivating and reactivating one, which is two commits. What looks at everybody and
// what writes is measured on one connection: another would wait for it. Answers there differ in length, so
// that each request is tried once, its answer read, and then the status alone is looked at.
//
// # What it does not measure
//
// TLS, HTTP/2, compression and access logs, which are off on both sides and cost both the same; the
// first request of a key (go test -bench, and the store's own benchmarks); other
// upstream_credentials; more than one core; a network, and what Redis costs that is far away. Throughput is as noisy
// as the machine; CPU time per request is steadier and the number to trust, and what is allocated for a
// request is the same in every round. With -null both sides are
// plain Caddy, and what differs from 1.00 is noise.
//
// The command needs Linux, for /proc, taskset (util-linux), for the cores, and redis-server with redis-cli
// where something is compared with Redis.
package main
