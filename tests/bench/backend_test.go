package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestRecordIsThePopulation: the W&B server knows the same people by the same keys as the directory file.
func TestRecordIsThePopulation(t *testing.T) {
	p := population{keys: 2*keysEach*teamSize + 3}
	r, err := startRecord(p)
	if err != nil {
		t.Fatal(err)
	}
	defer r.server.Close()
	client := &http.Client{Timeout: 20 * time.Second}
	for _, i := range []int{0, keysEach, p.keys - 1} {
		c := p.caller(i)
		query := fmt.Sprintf(`{"query":"{ viewer { username } project(entityName: \"%s\", name: \"%s\") { access } }"}`, c.entity, c.project)
		req, err := http.NewRequest(http.MethodPost, r.url+"/graphql", strings.NewReader(query))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", strings.TrimPrefix(c.credential, "Authorization: "))
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf(`"username":"%s"`, userName(c.user)); !strings.Contains(string(body), want) || !strings.Contains(string(body), `"PRIVATE"`) {
			t.Errorf("key %d is answered %s", i, body)
		}
	}
}

// TestPartsAreTheWhole: the parts in which a large directory is imported hold what the whole file does.
func TestPartsAreTheWhole(t *testing.T) {
	p := population{keys: 5*keysEach*teamSize + 3}
	file, err := p.importFile()
	if err != nil {
		t.Fatal(err)
	}
	var whole, parts rows
	if err := json.Unmarshal(file, &whole); err != nil {
		t.Fatal(err)
	}
	parts.Organization = organization
	for first := 0; first < p.users(); first += 2 * teamSize {
		last := min(first+2*teamSize, p.users())
		people, keys := p.people(first, last), p.keysOf(first, last)
		parts.Users, parts.Teams = append(parts.Users, people.Users...), append(parts.Teams, people.Teams...)
		parts.Projects, parts.APIKeys = append(parts.Projects, people.Projects...), append(parts.APIKeys, keys.APIKeys...)
	}
	if !reflect.DeepEqual(whole, parts) {
		t.Error("they differ")
	}
	if len(whole.APIKeys) != p.keys || len(whole.Users) != p.users() {
		t.Errorf("there are %d keys of %d people", len(whole.APIKeys), len(whole.Users))
	}
}

// TestOnlyWantedBackendsStart: who compares something else needs no Redis.
func TestOnlyWantedBackendsStart(t *testing.T) {
	for work, want := range map[string][2]bool{
		"":                                {true, true},
		"embedded store":                  {true, true},
		"store redis":                     {true, false},
		"GET file 1 KB: embedded store, ": {true, true},
		"directory wandb":                 {false, true},
		"API key":                         {false, false},
	} {
		b := &bench{options: options{work: work}, population: population{keys: 10000}}
		if got := [2]bool{b.comparesBackend(sharedStore), b.comparesBackend(serverRecord)}; got != want {
			t.Errorf("%q starts Redis and a W&B server: %v, want %v", work, got, want)
		}
	}
}

func TestParseRedisInfo(t *testing.T) {
	const whole = "# Memory\r\nused_memory:1024\r\nused_memory_human:1K\r\nused_memory_rss:4096\r\n# Persistence\r\naof_current_size:77\r\n"
	if got, err := parseRedisInfo(whole); err != nil || got.memory != 1024 || got.resident != 4096 || got.file != 77 {
		t.Errorf("%+v, %v", got, err)
	}
	for name, text := range map[string]string{
		"empty":        "",
		"no file":      strings.Replace(whole, "aof_current_size", "aof_size", 1),
		"not a number": strings.Replace(whole, "1024", "much", 1),
	} {
		if got, err := parseRedisInfo(text); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
