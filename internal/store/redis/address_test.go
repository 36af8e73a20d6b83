package redis

import (
	"slices"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

func TestParseAddress(t *testing.T) {
	for _, test := range []struct {
		url  string
		want string // as printed
		kind kind
		tls  bool
		db   int
		user string
		pass string
	}{
		{"redis://host", "host:6379", standalone, false, 0, "", ""},
		{"redis://host:7000/3", "host:7000", standalone, false, 3, "", ""},
		{"rediss://u:p@host/", "host:6379", standalone, true, 0, "u", "p"},
		{"redis://:p%40%2F%23@host?db=2", "host:6379", standalone, false, 2, "", "p@/#"},
		{"redis://u:a@b@host", "host:6379", standalone, false, 0, "u", "a@b"},
		{"redis://[::1]:6380", "[::1]:6380", standalone, false, 0, "", ""},
		{"redis://[::1]", "[::1]:6379", standalone, false, 0, "", ""},
		{"valkey://host", "host:6379", standalone, false, 0, "", ""},
		{"unix:///run/redis.sock?db=1", "/run/redis.sock", standalone, false, 1, "", ""},
		{"redis+cluster://a,b:7000", "a:6379,b:7000", cluster, false, 0, "", ""},
		{"rediss-cluster://a", "a:6379", cluster, true, 0, "", ""},
		{"redis://a:1?addr=b:2&addr=c:3", "a:1,b:2,c:3", cluster, false, 0, "", ""},
		{"redis://a,b", "a:6379,b:6379", cluster, false, 0, "", ""},
		{"redis+sentinel://a,b:1/main", "master main of a:26379,b:1", sentinel, false, 0, "", ""},
		{"redis-sentinel://:p@a/main/2", "master main of a:26379", sentinel, false, 2, "", "p"},
		{"redis-sentinel://a/2#main", "master main of a:26379", sentinel, false, 2, "", ""},
		{"redis://a:26379/1?master_name=main&addr=b:26380", "master main of a:26379,b:26380", sentinel, false, 1, "", ""},
		{"redis://su:sp@a?master_name=main&username=u&password=p", "master main of a:26379", sentinel, false, 0, "u", "p"},
	} {
		a, err := ParseAddress(test.url)
		if err != nil {
			t.Errorf("%s: %v", test.url, err)
			continue
		}
		if a.String() != test.want || a.kind != test.kind || a.tls != test.tls || a.db != test.db || a.username != test.user || a.password.Reveal() != test.pass {
			t.Errorf("%s: %+v, password %q", test.url, a, a.password.Reveal())
		}
	}
	a, err := ParseAddress("redis://su:sp@a?master_name=main&username=u&password=p")
	if err != nil || a.sentinelUsername != "su" || a.sentinelPassword.Reveal() != "sp" {
		t.Errorf("before the hosts stand Sentinel's: %+v, %v", a, err)
	}
}

// badAddresses are refused, without a word that could be a password.
var badAddresses = []string{
	"", "canary", "host:6379", "http://canary@host", "redis://", "redis://:canary@", "redis:///0",
	"redis://:canary/1@host", "redis://:canary#1@host", "redis://:canary?1@host", "redis://:%zzcanary@host",
	"redis://host:canary", "redis://host:0", "redis://host:65536", "redis://host:-1", "redis://host:6379:canary",
	"redis://host/canary", "redis://host/-1", "redis://host/1/canary", "redis://host?db=canary",
	"redis://host?dial_timeout=canary", "redis://host?pool_size=canary", "redis://host?pool_size=-1",
	"redis://host?skip_verify=true", "redis://a,,b", "redis://a b", "redis://[::1", "redis://host?addr=",
	"redis+sentinel://host", "redis+sentinel://host/a/b/canary", "redis+other://host", "unix+cluster:///x", "unix://host/x",
	"unix://", "redis+cluster://host/1", "redis://ho st", "redis://host\r\n", "redis://" + strings.Repeat("h,", 200) + "h",
}

func TestBadAddresses(t *testing.T) {
	for _, url := range badAddresses {
		_, err := ParseAddress(url)
		if iam.KindOf(err) != iam.KindInvalid {
			t.Errorf("%q: %v", url, err)
		} else if strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: the error shows it: %v", url, err)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, url := range append([]string{"redis://u:p@h:1,i/2?addr=j:3&db=1", "redis+sentinel://h/m#x"}, badAddresses...) {
		f.Add(url)
	}
	f.Fuzz(func(t *testing.T, url string) {
		a, err := ParseAddress(url)
		if err != nil {
			if iam.KindOf(err) != iam.KindInvalid {
				t.Fatalf("%q: %v", url, err)
			}
			return
		}
		if len(a.hosts) == 0 || slices.Contains(a.hosts, "") {
			t.Fatalf("%q names the hosts %q", url, a.hosts)
		}
		if p := a.password.Reveal(); len(p) > 3 && !strings.Contains(strings.Join(a.hosts, ",")+a.master, p) && strings.Contains(a.String(), p) {
			t.Fatalf("%q is printed with its password, %q", url, a)
		}
	})
}
