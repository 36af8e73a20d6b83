package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
)

// provisioned is one kind of request of an identity provider.
type provisioned struct {
	name string
	// connections is 1 where a second request at the same moment would wait for the first; 0 for the plan's.
	connections int
	requests    [][]byte
	// total is how many people each answer counts; 0 for an answer that is one person.
	total int
}

const (
	pageSize = 100
	// lookingAtEverybody is how many different filters look at everybody; each takes half a second with 100,000.
	lookingAtEverybody = 8
)

// provisioning are requests of the first person, who is an admin, about people that are spread over all of
// the population, of whom ids are known.
func (p population) provisioning(ids map[int]string) []provisioned {
	page := provisioned{name: fmt.Sprintf("SCIM page of %d", pageSize), total: p.users()}
	byName := provisioned{name: "SCIM filter userName eq", total: 1}
	byAddress := provisioned{name: "SCIM filter emails.value eq", total: 1}
	everybody := provisioned{name: "SCIM filter co, one connection", connections: 1, total: 1}
	one := provisioned{name: "SCIM GET one"}
	change := provisioned{name: "SCIM PATCH active, one connection", connections: 1}
	for i, user := range p.somebody() {
		page.requests = append(page.requests, p.provision("GET",
			fmt.Sprintf("?startIndex=%d&count=%d", 1+min(user, p.users()-pageSize), pageSize), ""))
		byName.requests = append(byName.requests, p.provision("GET", filter(`userName eq "%s"`, userName(user)), ""))
		byAddress.requests = append(byAddress.requests, p.provision("GET", filter(`emails.value eq "%s"`, address(user)), ""))
		if i < lookingAtEverybody {
			everybody.requests = append(everybody.requests, p.provision("GET", filter(`userName co "%s"`, userName(user)[1:]), ""))
		}
		one.requests = append(one.requests, p.provision("GET", "/"+ids[user], ""))
		for _, active := range []bool{false, true} {
			change.requests = append(change.requests, p.provision("PATCH", "/"+ids[user], fmt.Sprintf(
				`{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"replace","path":"active","value":%t}]}`, active)))
		}
	}
	return []provisioned{page, byName, byAddress, everybody, one, change}
}

// somebody are people spread over all, but for the first, who is an admin. Their names have as many digits as
// the last one's, so that none is a part of another.
func (p population) somebody() (users []int) {
	last := p.users() - 1
	for i := range callersEach {
		users = append(users, last-i*(last*9/10)/callersEach)
	}
	return users
}

// provision is a request about people by the standard's dialect.
func (p population) provision(method, target, body string) []byte {
	var sent []byte
	if body != "" {
		sent = []byte(body)
	}
	return request(method, "/scim/v2/Users"+target, p.caller(0), sent)
}

func filter(format, value string) string {
	return "?filter=" + url.QueryEscape(fmt.Sprintf(format, value))
}

// idsOf asks a gateway for the ids of people.
func (p population) idsOf(ctx context.Context, s *side) (map[int]string, error) {
	ids := make(map[int]string)
	for _, user := range p.somebody() {
		got, err := answers(ctx, s.address, [][]byte{p.provision("GET", filter(`userName eq "%s"`, userName(user)), "")})
		if err != nil {
			return nil, s.failed(err)
		}
		list, err := readPeople(got[0])
		if err != nil || len(list.Resources) != 1 || list.Resources[0].UserName != userName(user) {
			return nil, s.failed(fmt.Errorf("%s is found as %s, %w", userName(user), got[0].body, err))
		}
		ids[user] = list.Resources[0].ID
	}
	return ids, nil
}

// people are a list response, or one person, of which TotalResults is 0.
type people struct {
	TotalResults int
	UserName     string
	Resources    []struct{ ID, UserName string }
}

func readPeople(got fullResponse) (people, error) {
	var p people
	if got.status != http.StatusOK {
		return p, fmt.Errorf("status %d", got.status)
	}
	return p, json.Unmarshal(got.body, &p)
}

// try sends every request once: an answer that is wrong is not worth timing.
func (r provisioned) try(ctx context.Context, s *side) (workload, error) {
	w := workload{name: r.name, requests: r.requests, varied: true, want: response{status: http.StatusOK}}
	got, err := answers(ctx, s.address, r.requests)
	if err != nil {
		return w, s.failed(fmt.Errorf("%s: %w", r.name, err))
	}
	for i := range got {
		found, err := readPeople(got[i])
		if err != nil || found.TotalResults != r.total || (r.total == 0) != (found.UserName != "") {
			return w, s.failed(fmt.Errorf("%s: request %d is answered %.300s, which is no answer with %d people (%v)", r.name, i, got[i].body, r.total, err))
		}
	}
	return w, nil
}

// measureProvisioning compares what administration by SCIM costs.
func (l *large) measureProvisioning(ctx context.Context) error {
	var both [2][]provisioned
	for i, s := range l.sides() {
		ids, err := l.known[i].idsOf(ctx, s)
		if err != nil {
			return err
		}
		both[i] = l.known[i].provisioning(ids)
	}
	for kind, r := range both[0] {
		var loads [2]workload
		for i, s := range l.sides() {
			var err error
			if loads[i], err = both[i][kind].try(ctx, s); err != nil {
				return err
			}
		}
		if err := l.add(ctx, l.pair(loads, 0, r.connections)); err != nil {
			return err
		}
	}
	return nil
}
