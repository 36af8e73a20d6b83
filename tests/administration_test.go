package tests

import (
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

var updateWire = flag.Bool("update", false, "write what the tests see into their golden files")

// The documents of the public API, as 0.31.0 sends them and, where they differ in form, as 0.19.11 does.
const (
	docCreateUser = "mutation CreateUserFromAdmin($email: String!, $admin: Boolean) {\n  result: createUser(input: {email: $email, admin: $admin}) {\n    user {\n      ...UserInfoFragment\n    }\n  }\n}\n\nfragment UserInfoFragment on User {\n  id\n  name\n  username\n  email\n  admin\n}"
	docUserFields = "\n\nfragment ApiKeyFragment on ApiKey {\n  id\n  name\n  description\n}\n\nfragment UserFragment on User {\n  id\n  name\n  username\n  email\n  admin\n  flags\n  entity\n  deletedAt\n  apiKeys {\n    edges {\n      node {\n        ...ApiKeyFragment\n      }\n    }\n  }\n  teams {\n    edges {\n      node {\n        name\n      }\n    }\n  }\n}"
	docUsers      = "query SearchUsers($query: String) {\n  users(query: $query) {\n    edges {\n      node {\n        ...UserFragment\n      }\n    }\n  }\n}" + docUserFields
	docViewer     = "query GetViewer {\n  viewer {\n    ...UserFragment\n  }\n}" + docUserFields
	docCreateTeam = "mutation CreateTeam($teamName: String!, $teamAdminUserName: String) {\n  result: createTeam(\n    input: {teamName: $teamName, teamAdminUserName: $teamAdminUserName}\n  ) {\n    entity {\n      id\n      name\n      available\n      photoUrl\n      limits\n    }\n  }\n}"
	docTeam       = "query GetTeamEntity($name: String!) {\n  entity(name: $name) {\n    id\n    name\n    available\n    photoUrl\n    readOnly\n    readOnlyAdmin\n    isTeam\n    entityType\n    privateOnly\n    storageBytes\n    codeSavingEnabled\n    defaultAccess\n    isPaid\n    members {\n      id\n      admin\n      pending\n      email\n      username\n      name\n      photoUrl\n      accountType\n      apiKey\n    }\n  }\n}"
	docInvite     = "mutation CreateInvite($entity: String!, $email: String, $username: String, $admin: Boolean) {\n  result: createInvite(\n    input: {entityName: $entity, email: $email, username: $username, admin: $admin}\n  ) {\n    invite {\n      id\n      name\n      email\n      createdAt\n      toUser {\n        name\n      }\n    }\n  }\n}"
	docUninvite   = "mutation DeleteInvite($id: String, $entity: String) {\n  result: deleteInvite(input: {id: $id, entityName: $entity}) {\n    success\n  }\n}"
	docAccount    = "mutation CreateServiceAccount($entity: String!, $description: String!) {\n  result: createServiceAccount(\n    input: {description: $description, entityName: $entity}\n  ) {\n    user {\n      id\n    }\n  }\n}"
	docKey        = "mutation GenerateApiKey($description: String) {\n  result: generateApiKey(input: {description: $description}) {\n    apiKey {\n      ...ApiKeyFragment\n    }\n  }\n}\n\nfragment ApiKeyFragment on ApiKey {\n  id\n  name\n  description\n}"
	docDeleteKey  = "mutation DeleteApiKey($id: String!) {\n  result: deleteApiKey(input: {id: $id}) {\n    success\n  }\n}"
	docProject    = "mutation CreateProject($input: UpsertModelInput!) {\n  result: upsertModel(input: $input) {\n    project {\n      ...CreatedProjectFragment\n    }\n    model {\n      ...CreatedProjectFragment\n    }\n    inserted\n  }\n}\n\nfragment CreatedProjectFragment on Project {\n  id\n  name\n  entityName\n  description\n  access\n  views\n}"

	docOldAccount = "mutation CreateServiceAccount($entityName: String!, $description: String!) {\n  createServiceAccount(\n    input: {description: $description, entityName: $entityName}\n  ) {\n    user {\n      id\n    }\n  }\n}\n"
	docOldTeam    = "query Entity($name: String!) {\n  entity(name: $name) {\n    id\n    name\n    available\n    photoUrl\n    readOnly\n    readOnlyAdmin\n    isTeam\n    privateOnly\n    storageBytes\n    codeSavingEnabled\n    defaultAccess\n    isPaid\n    members {\n      id\n      admin\n      pending\n      email\n      username\n      name\n      photoUrl\n      accountType\n      apiKey\n    }\n  }\n}\n"
	docOldUsers   = "query SearchUsers($query: String) {\n  users(query: $query) {\n    edges {\n      node {\n        id\n        flags\n        entity\n        admin\n        email\n        deletedAt\n        username\n        apiKeys {\n          edges {\n            node {\n              id\n              name\n              description\n            }\n          }\n        }\n        teams {\n          edges {\n            node {\n              name\n            }\n          }\n        }\n      }\n    }\n  }\n}\n"
)

// given are the variables of a request.
type given = map[string]any

// TestAdministrationWire holds the answers of the SDK's administration to the fields that its clients need
// (sdk-wire 8), byte for byte but for ids, keys and times.
func TestAdministrationWire(t *testing.T) {
	a := startAttacked(t, config{})
	var got strings.Builder
	normal := newNormalizer()
	ask := func(what, key, query string, v given) answer {
		t.Helper()
		r := a.graphQL(key, query, v, nil)
		normal.learn(r.body)
		fmt.Fprintf(&got, "## %s\n%d %s\n\n", what, r.status, normal.replace(r.body))
		a.untouched(t)
		return r
	}
	idOf := func(r answer, username string) string { return memberOf(t, r, username).ID }

	ask("create user", rootKey, docCreateUser, given{"email": "Carol.Danvers@Acme.test", "admin": false})
	ask("create user whose user name is taken", rootKey, docCreateUser, given{"email": "alice@other.test", "admin": true})
	ask("create user again", rootKey, docCreateUser, given{"email": "carol.danvers@acme.test", "admin": true})
	ask("create user without address", rootKey, docCreateUser, given{"email": "", "admin": nil})
	ask("find user by address", rootKey, docUsers, given{"query": "VICTOR@acme.test"})
	ask("find user by the old client", orgBotKey, docOldUsers, given{"query": "victor"})
	ask("find users by the end of their address", rootKey, `query($q:String){users(query:$q,first:1){edges{node{username}cursor}pageInfo{hasNextPage endCursor}totalCount}}`, given{"query": "x", "q": "@other.test"})
	ask("find nobody", rootKey, docUsers, given{"query": "nobody"})
	ask("create team", rootKey, docCreateTeam, given{"teamName": "audio", "teamAdminUserName": "victor"})
	ask("create team again, in other letters", rootKey, docCreateTeam, given{"teamName": "AUDIO", "teamAdminUserName": nil})
	ask("create team of nobody", rootKey, docCreateTeam, given{"teamName": "empty", "teamAdminUserName": "nobody"})
	ask("team", victorKey, docTeam, given{"name": "audio"})
	ask("team, in other letters, by the old client", victorKey, docOldTeam, given{"name": "Audio"})
	ask("personal entity", victorKey, docTeam, given{"name": "victor"})
	ask("invite by user name", victorKey, docInvite, given{"entity": "audio", "username": "alice", "admin": true})
	ask("invite by address", aliceKey, docInvite, given{"entity": "audio", "email": "MALLORY@acme.test", "admin": false})
	ask("invite again", victorKey, docInvite, given{"entity": "audio", "email": "mallory@acme.test", "admin": true})
	ask("invite nobody", victorKey, docInvite, given{"entity": "audio", "email": "nobody@acme.test"})
	members := ask("team with members", aliceKey, docTeam, given{"name": "audio"})
	ask("remove member", victorKey, docUninvite, given{"id": idOf(members, "mallory"), "entity": "audio"})
	ask("remove member again", victorKey, docUninvite, given{"id": idOf(members, "mallory"), "entity": "audio"})
	ask("create service account", victorKey, docAccount, given{"entity": "audio", "description": "CI of the audio team"})
	ask("create another by the old client", victorKey, docOldAccount, given{"entityName": "audio", "description": "CI of the audio team"})
	ask("team for somebody else", aliceKey, docTeam, given{"name": "audio"})
	first := ask("team for who made them", victorKey, docTeam, given{"name": "audio"})
	ask("team once more", victorKey, docTeam, given{"name": "audio"})
	account := memberOf(t, first, "CI-of-the-audio-team")
	ask("who has the key", account.APIKey, docViewer, nil)
	ask("delete service account", aliceKey, docUninvite, given{"id": account.ID, "entity": "audio"})
	ask("whose key it was", account.APIKey, docViewer, nil)
	made := ask("make a key", victorKey, docKey, given{"description": "laptop"})
	ask("make a key of that name", victorKey, docKey, given{"description": "laptop"})
	ask("make a key of no name", victorKey, docKey, given{"description": nil})
	ask("own keys", victorKey, `{viewer{apiKeys{edges{node{name description}}}}}`, nil)
	var key struct {
		Data struct {
			Result struct{ APIKey struct{ ID string } }
		}
	}
	if err := json.Unmarshal([]byte(made.body), &key); err != nil {
		t.Fatal(err)
	}
	ask("delete a key", victorKey, docDeleteKey, given{"id": key.Data.Result.APIKey.ID})
	ask("delete a key again", victorKey, docDeleteKey, given{"id": key.Data.Result.APIKey.ID})
	ask("delete another's key", malloryKey, docDeleteKey, given{"id": key.Data.Result.APIKey.ID})
	ask("not for members", victorKey, docCreateUser, given{"email": "dave@acme.test"})
	ask("not for other teams' admins", malloryKey, docInvite, given{"entity": "vision", "username": "mallory"})
	ask("not for strangers", malloryKey, docTeam, given{"name": "vision"})

	goldenFile(t, "administration.golden", got.String())
}

// goldenFile compares what a test saw with a file, or writes it there.
func goldenFile(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *updateWire {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(got, "\n") {
		if lines := strings.Split(string(want), "\n"); i >= len(lines) || lines[i] != line {
			t.Fatalf("line %d is\n%s\nand not that of %s; `make golden` writes it anew", i+1, line, path)
		}
	}
	if len(got) < len(want) {
		t.Errorf("%s has more lines", path)
	}
}

// normalizer gives what is random a number in the order in which it is seen.
type normalizer struct{ seen []string }

func newNormalizer() *normalizer { return new(normalizer) }

var (
	randomID    = regexp.MustCompile(`"(?:id|endCursor|cursor)":"([^"]+)"`)
	secretKey   = regexp.MustCompile(`wbg-[0-9a-f]{40}`)
	ownKeyID    = regexp.MustCompile(`(\(|key )[0-9a-f]{8}\b`)
	requestUUID = regexp.MustCompile(`"request_id":"[^"]+"`)
	someTime    = regexp.MustCompile(`"createdAt":"[0-9T:-]+"`)
	rawID       = regexp.MustCompile(`(usr|team|sa)_[0-9a-f]{20}`)
)

func (n *normalizer) learn(body string) {
	for _, m := range randomID.FindAllStringSubmatch(body, -1) {
		if !slices.Contains(n.seen, m[1]) {
			n.seen = append(n.seen, m[1])
		}
	}
}

func (n *normalizer) replace(body string) string {
	for i, s := range n.seen {
		if len(s) > 4 {
			body = strings.ReplaceAll(body, `"`+s+`"`, fmt.Sprintf(`"ID-%d"`, i+1))
		}
	}
	body = secretKey.ReplaceAllString(body, "A-KEY")
	body = ownKeyID.ReplaceAllString(body, "${1}KEY-ID")
	body = requestUUID.ReplaceAllString(body, `"request_id":"REQUEST"`)
	body = rawID.ReplaceAllString(body, "$1-ID")
	return someTime.ReplaceAllString(body, `"createdAt":"A-TIME"`)
}

// teamMember is one of an answer's members.
type teamMember struct {
	ID, Username, Email, APIKey, AccountType string
	Admin                                    bool
}

func membersOf(t *testing.T, r answer) []teamMember {
	t.Helper()
	var body struct {
		Data struct {
			Entity struct{ Members []teamMember }
		}
	}
	if err := json.Unmarshal([]byte(r.body), &body); err != nil || r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	return body.Data.Entity.Members
}

func memberOf(t *testing.T, r answer, username string) teamMember {
	t.Helper()
	for _, m := range membersOf(t, r) {
		if m.Username == username {
			return m
		}
	}
	t.Fatalf("%s is not in %s", username, r.body)
	return teamMember{}
}

// TestAdministrationRefused is Z11, Z12 and S02 at the SDK's administration: whoever may not, and whatever
// could be read in two ways, changes nothing and reaches nobody.
func TestAdministrationRefused(t *testing.T) {
	a := startAttacked(t, config{})
	team := a.graphQL(aliceKey, docTeam, given{"name": "vision"}, nil)
	victor, account := memberOf(t, team, "victor").ID, memberOf(t, team, "ci-vision").ID
	own := memberOf(t, a.graphQL(malloryKey, docTeam, given{"name": "hostile"}, nil), "mallory").ID
	victorsKey := keyIDs(t, a.graphQL(victorKey, docViewer, nil, nil))[0]
	rootsKey := keyIDs(t, a.graphQL(rootKey, docViewer, nil, nil))[0]
	a.upstream.take()
	before := a.exportedDirectory(t)

	invite := func(input string) string {
		return document(`mutation{createInvite(input:{` + input + `}){invite{id}}}`)
	}
	uninvite := func(id, entity string) string {
		return document(`mutation{deleteInvite(input:{id:` + quoted(id) + `,entityName:` + quoted(entity) + `}){success}}`)
	}
	const server = `upsertBucket(input:{entityName:"hostile",modelName:"own",name:"r"}){bucket{id}}`
	const mint = `generateApiKey(input:{description:"x"}){apiKey{name}}`
	for name, c := range map[string]struct {
		key, body string
		status    int
		reason    string
	}{
		// Who may not.
		"nobody":                               {"", document(`mutation{createUser(input:{email:"x@acme.test"}){user{id}}}`), 401, "no_credential"},
		"a member makes a user":                {victorKey, document(`mutation{createUser(input:{email:"x@acme.test"}){user{id}}}`), 403, "organization_admin_required"},
		"a member makes an admin":              {victorKey, document(`mutation{createUser(input:{email:"x@acme.test",admin:true}){user{id}}}`), 403, "organization_admin_required"},
		"a team admin makes a user":            {malloryKey, document(`mutation{createUser(input:{email:"x@acme.test"}){user{id}}}`), 403, "organization_admin_required"},
		"the organization's account":           {orgBotKey, document(`mutation{createUser(input:{email:"x@acme.test"}){user{id}}}`), 403, "organization_admin_required"},
		"a member makes a team":                {victorKey, document(`mutation{createTeam(input:{teamName:"x"}){entity{id}}}`), 403, "organization_admin_required"},
		"an account makes a team":              {ciVisionKey, document(`mutation{createTeam(input:{teamName:"x",teamAdminUserName:"mallory"}){entity{id}}}`), 403, "organization_admin_required"},
		"a member looks people up":             {victorKey, document(`{users(query:""){edges{node{email}}}}`), 403, "organization_admin_required"},
		"a team's account looks people up":     {ciVisionKey, document(`{users(query:""){edges{node{email}}}}`), 403, "organization_admin_required"},
		"a member invites":                     {victorKey, invite(`entityName:"vision",username:"mallory"`), 403, "team_admin_required"},
		"a member makes himself admin":         {victorKey, invite(`entityName:"vision",username:"victor",admin:true`), 403, "team_admin_required"},
		"another team's admin invites":         {malloryKey, invite(`entityName:"vision",username:"mallory",admin:true`), 403, "not_team_member"},
		"an account invites":                   {ciVisionKey, invite(`entityName:"vision",username:"mallory"`), 403, "team_admin_required"},
		"into no team":                         {malloryKey, invite(`entityName:"ghost",username:"mallory"`), 404, "not_found"},
		"another team's admin removes":         {malloryKey, uninvite(victor, "vision"), 403, "not_team_member"},
		"a member leaves":                      {victorKey, uninvite(victor, "vision"), 403, "team_admin_required"},
		"an account by an account":             {ciVisionKey, uninvite(account, "vision"), 403, "team_admin_required"},
		"another team's admin and an account":  {malloryKey, document(`mutation{createServiceAccount(input:{entityName:"vision",description:"x"}){user{id}}}`), 403, "not_team_member"},
		"a member makes an account":            {victorKey, document(`mutation{createServiceAccount(input:{entityName:"vision",description:"x"}){user{id}}}`), 403, "team_admin_required"},
		"an account in a personal entity":      {malloryKey, document(`mutation{createServiceAccount(input:{entityName:"mallory",description:"x"}){user{id}}}`), 403, "not_a_team"},
		"an account makes itself a key":        {ciVisionKey, document("mutation{" + mint + "}"), 403, "service_account_self_management"},
		"the organization's account and a key": {orgBotKey, document("mutation{" + mint + "}"), 403, "service_account_self_management"},
		"another's key":                        {malloryKey, document(`mutation{deleteApiKey(input:{id:` + quoted(victorsKey) + `}){success}}`), 403, "organization_admin_required"},
		"an admin's key":                       {aliceKey, document(`mutation{deleteApiKey(input:{id:` + quoted(rootsKey) + `}){success}}`), 403, "organization_admin_required"},
		"a key that is not there, of another":  {malloryKey, document(`mutation{deleteApiKey(input:{id:` + quoted(nodeID("ApiKey:user:usr_00000000000000000000:00000000")) + `}){success}}`), 403, "organization_admin_required"},
		"an account's key by another team":     {malloryKey, document(`mutation{deleteApiKey(input:{id:` + quoted(nodeID("ApiKey:"+accountRef(t, account)+":00000000")) + `}){success}}`), 403, "organization_admin_required"},
		"a team of others":                     {malloryKey, document(`{entity(name:"vision"){name members{username email}}}`), 403, "not_team_member"},

		// Names and ids that do not agree (Z11).
		"another team's member, by own team":   {malloryKey, uninvite(victor, "hostile"), 200, "id_mismatch"},
		"another team's account, by own team":  {malloryKey, uninvite(account, "hostile"), 200, "id_mismatch"},
		"own team's id with another's member":  {malloryKey, uninvite(swapTeam(t, own, victor), "hostile"), 200, "not_found"},
		"own team's id with another's account": {malloryKey, uninvite(swapTeam(t, own, account), "hostile"), 200, "not_found"},
		"an id of nothing":                     {malloryKey, uninvite("x", "hostile"), 200, "invalid"},
		"an id without its padding":            {malloryKey, uninvite(strings.TrimRight(own, "="), "hostile"), 200, "invalid"},
		"an id of another type":                {malloryKey, uninvite(nodeID("User:usr_1"), "hostile"), 200, "invalid"},
		"an id that names nobody":              {malloryKey, uninvite(nodeID("Member:team_1:user:"), "hostile"), 200, "invalid"},
		"an id by number":                      {malloryKey, document(`mutation{deleteInvite(input:{id:17,entityName:"hostile"}){success}}`), 200, "invalid"},
		"no team beside the id":                {malloryKey, document(`mutation{deleteInvite(input:{id:` + quoted(own) + `}){success}}`), 200, "invalid"},
		"a personal entity":                    {malloryKey, invite(`entityName:"mallory",username:"victor"`), 403, "not_a_team"},
		"both a name and an address":           {malloryKey, invite(`entityName:"hostile",username:"victor",email:"alice@acme.test"`), 200, "invalid"},
		"neither a name nor an address":        {malloryKey, invite(`entityName:"hostile"`), 200, "invalid"},
		"an invitation by nobody":              {"", invite(`entityName:"hostile",username:"victor"`), 401, "no_credential"},
		"somebody who is not there":            {malloryKey, invite(`entityName:"hostile",username:"nobody"`), 200, "not_found"},
		"a Kelvin sign in a name":              {malloryKey, invite(`entityName:"hostile",username:"vi\u212Ator"`), 200, "not_found"},
		"a blank behind a name":                {malloryKey, invite(`entityName:"hostile",username:"victor "`), 200, "not_found"},
		"a team's name with a blank":           {malloryKey, invite(`entityName:"vision ",username:"victor"`), 404, "not_found"},
		"an account without a description":     {malloryKey, document(`mutation{createServiceAccount(input:{entityName:"hostile",description:""}){user{id}}}`), 200, "invalid"},
		"an account that cannot be named":      {malloryKey, document(`mutation{createServiceAccount(input:{entityName:"hostile",description:"日本語"}){user{id}}}`), 200, "invalid"},
		"an account with a line break":         {malloryKey, document(`mutation{createServiceAccount(input:{entityName:"hostile",description:"a\nb"}){user{id}}}`), 200, "invalid"},
		"a key with a long label":              {malloryKey, document(`mutation{generateApiKey(input:{description:"` + strings.Repeat("x", 300) + `"}){apiKey{name}}}`), 200, "invalid"},
		"an address that is none":              {rootKey, document(`mutation{createUser(input:{email:"alice"}){user{id}}}`), 200, "invalid"},
		"an address in other letters":          {rootKey, document(`mutation{createUser(input:{email:"ALICE@ACME.TEST"}){user{id}}}`), 200, "taken"},
		"a team named like a person":           {rootKey, document(`mutation{createTeam(input:{teamName:"Mallory"}){entity{id}}}`), 200, "taken"},
		"a team named with a path":             {rootKey, document(`mutation{createTeam(input:{teamName:"a/b"}){entity{id}}}`), 200, "invalid"},
		"a team named with dots":               {rootKey, document(`mutation{createTeam(input:{teamName:".."}){entity{id}}}`), 200, "invalid"},
		"a page of nothing":                    {rootKey, document(`{users(query:"a",first:0){edges{node{id}}}}`), 200, "invalid"},
		"a page of everybody":                  {rootKey, document(`{users(query:"a",first:100000){edges{node{id}}}}`), 200, "invalid"},

		// Mass assignment (S02), and values of other types.
		"a role":                 {rootKey, document(`mutation{createUser(input:{email:"x@acme.test",role:"admin"}){user{id}}}`), 200, "invalid"},
		"a user name":            {rootKey, document(`mutation{createUser(input:{email:"x@acme.test",username:"root2"}){user{id}}}`), 200, "invalid"},
		"an id":                  {rootKey, document(`mutation{createUser(input:{email:"x@acme.test",id:"VXNlcjoxCg=="}){user{id}}}`), 200, "invalid"},
		"beside the input":       {rootKey, document(`mutation{createUser(input:{email:"x@acme.test"},admin:true){user{id}}}`), 200, "invalid"},
		"a role in an invite":    {malloryKey, invite(`entityName:"hostile",username:"victor",role:"admin"`), 200, "invalid"},
		"a key of one's own":     {malloryKey, document(`mutation{generateApiKey(input:{description:"x",key:"local-0000000000000000000000000000000000000000"}){apiKey{name}}}`), 200, "invalid"},
		"a key for another":      {malloryKey, document(`mutation{generateApiKey(input:{description:"x",userId:"victor"}){apiKey{name}}}`), 200, "invalid"},
		"admin as text":          {rootKey, withVariables(docCreateUser, `{"email":"x@acme.test","admin":"true"}`), 200, "invalid"},
		"admin as number":        {rootKey, withVariables(docCreateUser, `{"email":"x@acme.test","admin":1}`), 200, "invalid"},
		"address as list":        {rootKey, withVariables(docCreateUser, `{"email":["x@acme.test"],"admin":false}`), 200, "invalid"},
		"address as object":      {rootKey, withVariables(docCreateUser, `{"email":{"eq":"x"},"admin":false}`), 200, "invalid"},
		"input as list":          {rootKey, withVariables(`mutation($i:I){createUser(input:$i){user{id}}}`, `{"i":[{"email":"x@acme.test"}]}`), 200, "invalid"},
		"input as text":          {rootKey, withVariables(`mutation($i:I){createUser(input:$i){user{id}}}`, `{"i":"x@acme.test"}`), 200, "invalid"},
		"no input":               {rootKey, document(`mutation{createUser{user{id}}}`), 200, "invalid"},
		"a team as list":         {malloryKey, withVariables(`mutation($e:X){createInvite(input:{entityName:$e,username:"mallory"}){invite{id}}}`, `{"e":["hostile","vision"]}`), 400, "invalid_argument"},
		"a team as object":       {malloryKey, withVariables(docInvite, `{"entity":{"a":"vision"},"username":"mallory"}`), 400, "invalid_argument"},
		"a variable twice":       {malloryKey, withVariables(docInvite, `{"entity":"hostile","entity":"vision","username":"mallory"}`), 400, "duplicate_member"},
		"an input member twice":  {malloryKey, withVariables(`mutation($i:I){createInvite(input:$i){invite{id}}}`, `{"i":{"entityName":"hostile","entityName":"vision","username":"mallory"}}`), 400, "duplicate_member"},
		"an argument twice":      {malloryKey, document(`mutation{createInvite(input:{entityName:"hostile",username:"victor"},input:{entityName:"vision",username:"mallory"}){invite{id}}}`), 400, "malformed_document"},
		"search for a list":      {rootKey, document(`{users(query:["a"]){edges{node{id}}}}`), 200, "invalid"},
		"search with a filter":   {rootKey, document(`{users(query:"a",where:{admin:true}){edges{node{id}}}}`), 200, "invalid"},
		"entity by id":           {malloryKey, document(`{entity(name:"hostile",id:"x"){members{username}}}`), 200, "invalid"},
		"an override by default": {malloryKey, withVariables(`mutation($e:String="vision"){createInvite(input:{entityName:$e,username:"mallory",admin:true}){invite{id}}}`, `{}`), 403, "not_team_member"},

		// More than one thing in one request.
		"a batch":                       {malloryKey, "[" + document("mutation{"+mint+"}") + "]", 400, "batch"},
		"two keys":                      {malloryKey, document("mutation{a:" + mint + " b:" + mint + "}"), 400, "not_alone"},
		"a hundred keys":                {malloryKey, document("mutation{" + aliases(100, mint) + "}"), 400, "not_alone"},
		"beside the server's":           {malloryKey, document("mutation{" + server + " " + mint + "}"), 400, "not_alone"},
		"before the server's":           {malloryKey, document("mutation{" + mint + " " + server + "}"), 400, "not_alone"},
		"in a fragment":                 {malloryKey, document("mutation{" + server + " ...F} fragment F on Mutation{" + mint + "}"), 400, "not_alone"},
		"in an inline fragment":         {malloryKey, document("mutation{" + server + " ... on Mutation{x:" + mint + "}}"), 400, "not_alone"},
		"under another's name":          {malloryKey, document(`mutation{createInvite:createUser(input:{email:"x@acme.test"}){user{id}}}`), 403, "organization_admin_required"},
		"left out, beside the server's": {malloryKey, withVariables("mutation($no:Boolean!){"+server+" a:generateApiKey(input:{}) @include(if:$no){apiKey{name}}}", `{"no":false}`), 400, "not_alone"},
		"the allowed one of two":        {malloryKey, document(`mutation{a:createInvite(input:{entityName:"hostile",username:"victor"}){invite{id}} b:createInvite(input:{entityName:"vision",username:"mallory"}){invite{id}}}`), 403, "not_team_member"},
		"beside __typename":             {malloryKey, document("mutation{__typename " + mint + "}"), 400, "not_alone"},
		"a team in many copies":         {malloryKey, document("{" + aliases(17, `entity(name:"hostile"){members{username}}`) + "}"), 413, "too_costly"},
		"one's keys in many copies":     {malloryKey, document("{viewer{" + aliases(17, `apiKeys{edges{node{id}}}`) + "}}"), 413, "too_costly"},
		"members in many copies":        {malloryKey, document(`{entity(name:"hostile"){name ` + aliases(101, `members{username}`) + "}}"), 200, "too_costly"},
		"everybody in many copies":      {rootKey, document("{" + aliases(17, `users(query:""){edges{node{id}}}`) + "}"), 413, "too_costly"},
		"many fields of everybody":      {rootKey, document(`{users(query:""){edges{node{` + aliases(101, "apiKeys{edges{node{id}}}") + "}}}}"), 200, "too_costly"},
		"as a query":                    {malloryKey, document("query{" + mint + "}"), 403, "unplaced"},
		"users as a mutation":           {rootKey, document(`mutation{users(query:"a"){edges{node{id}}}}`), 403, "unplaced"},
		"a root of theirs in a query":   {malloryKey, document(`{entity(name:"hostile"){members{username}} createUser(input:{email:"x@acme.test"}){user{id}}}`), 403, "unplaced"},
	} {
		t.Run(name, func(t *testing.T) { a.refuses(t, a.graphQLRaw(t, c.key, c.body), c.status, c.reason) })
	}

	t.Run("left out alone", func(t *testing.T) {
		got := a.graphQLRaw(t, malloryKey, document("mutation{generateApiKey(input:{}) @skip(if:true){apiKey{name}}}"))
		if got.status != 200 || got.body != `{"data":{}}` {
			t.Errorf("answered %d %s", got.status, got.body)
		}
		a.untouched(t)
	})
	t.Run("nothing was changed", func(t *testing.T) {
		if after := a.exportedDirectory(t); after != before {
			t.Errorf("the directory was\n%s\nand is\n%s", before, after)
		}
		for _, key := range []string{victorKey, malloryKey, rootKey} {
			if n := len(keyIDs(t, a.graphQL(key, docViewer, nil, nil))); n != 1 {
				t.Errorf("somebody has %d keys", n)
			}
		}
	})
}

func (p *process) exportedDirectory(t *testing.T) string {
	t.Helper()
	return p.mustIAM("export")
}

// keyIDs are the ids in `viewer`'s keys.
func keyIDs(t *testing.T, r answer) []string {
	t.Helper()
	var body struct {
		Data struct {
			Viewer struct {
				APIKeys struct {
					Edges []struct{ Node struct{ ID string } }
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(r.body), &body); err != nil || r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	var ids []string
	for _, e := range body.Data.Viewer.APIKeys.Edges {
		ids = append(ids, e.Node.ID)
	}
	if len(ids) == 0 {
		t.Fatalf("no keys in %s", r.body)
	}
	return ids
}

// decoded is what a node id says.
func decoded(t *testing.T, id string) string {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(id)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// accountRef is the reference in a member's id.
func accountRef(t *testing.T, member string) string {
	t.Helper()
	text := decoded(t, member)
	return text[strings.Index(text, "service_account:"):]
}

// swapTeam makes an id of the team of one member and the person of another.
func swapTeam(t *testing.T, team, who string) string {
	t.Helper()
	return nodeID("Member:" + strings.Split(decoded(t, team), ":")[1] + ":" + strings.SplitN(decoded(t, who), ":", 3)[2])
}

// TestAdministrationInTwoParts: what a query mixes is answered in two parts and put together; what only the
// server knows of a team comes from it, and who is in the team from the record.
func TestAdministrationInTwoParts(t *testing.T) {
	a := startAttacked(t, config{})
	a.upstream.saysJSON(`{"data":{"project":{"id":"P1"}}}`)
	got := a.graphQLRaw(t, aliceKey, document(`{me:viewer{username} project(name:"team",entityName:"vision"){id} team:entity(name:"vision"){name members{username apiKey}}}`))
	if want := `{"data":{"project":{"id":"P1"},"me":{"username":"alice"},"team":{"name":"vision","members":[{"username":"alice","apiKey":null},{"username":"victor","apiKey":null},{"username":"ci-vision","apiKey":null}]}}}`; got.status != 200 || got.body != want {
		t.Errorf("answered %d\n%s, want\n%s", got.status, got.body, want)
	}
	if q := a.passed(t, got); strings.Contains(q.body, "members") || strings.Contains(q.body, "viewer") {
		t.Errorf("the server was asked %s", q.body)
	}

	a.upstream.saysJSON(`{"data":{"entity":{"name":"vision","storageUsed":7,"people":[{"username":"old","apiKey":"sesame"}]}}}`)
	got = a.graphQLRaw(t, aliceKey, document(`{entity(name:"vision"){name projects(first:1){edges{node{name}}} people:members{username apiKey ...M}}} fragment M on Member{role}`))
	if want := `{"data":{"entity":{"name":"vision","storageUsed":7,"people":[{"username":"alice","apiKey":null,"role":"admin"},{"username":"victor","apiKey":null,"role":"member"},{"username":"ci-vision","apiKey":null,"role":"member"}]}}}`; got.status != 200 || got.body != want {
		t.Errorf("answered %d\n%s, want\n%s", got.status, got.body, want)
	}
	a.upstream.take()

	// What the record adds to the server's answers has its bounds too.
	var lists []string
	for i := range 17 {
		lists = append(lists, fmt.Sprintf(`"a%d":[]`, i))
	}
	a.upstream.saysJSON(`{"data":{"entity":{` + strings.Join(lists, ",") + `}}}`)
	got = a.graphQLRaw(t, aliceKey, document(`{entity(name:"vision"){projects(first:1){edges{node{name}}} `+aliases(17, `members{username}`)+`}}`))
	if got.status != http.StatusRequestEntityTooLarge || got.reason() != "too_costly" {
		t.Errorf("answered %d %s", got.status, got.body)
	}
	a.upstream.take()

	// A key waits for a request that is answered here alone: the server's failure would lose it.
	a.graphQL(aliceKey, docAccount, given{"entity": "vision", "description": "late"}, nil)
	a.upstream.says("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
	a.graphQLRaw(t, aliceKey, document(`{project(name:"team",entityName:"vision"){id} entity(name:"vision"){name members{username apiKey}}}`))
	if m := memberOf(t, a.graphQL(aliceKey, docTeam, given{"name": "vision"}, nil), "late"); m.APIKey == "" {
		t.Error("the key was lost with an answer of the server's")
	}
}

// TestAdministrationRaces is Z13: of two admins who change the same thing at the same moment one succeeds and
// the other is told, and nothing is done twice or half.
func TestAdministrationRaces(t *testing.T) {
	a := startAttacked(t, config{})
	a.graphQL(rootKey, docInvite, given{"entity": "vision", "username": "root", "admin": true}, nil)
	race := func(query string, v given, keys ...string) (won, told int) {
		t.Helper()
		answers := make([]answer, len(keys))
		var all sync.WaitGroup
		for i, key := range keys {
			all.Go(func() { answers[i] = a.graphQL(key, query, v, nil) })
		}
		all.Wait()
		for _, r := range answers {
			switch {
			case r.status == 200 && r.reason() == "":
				won++
			case r.status == 200 && (r.reason() == "taken" || r.reason() == "conflict" || r.reason() == "not_found"):
				told++
			default:
				t.Errorf("answered %d %s", r.status, r.body)
			}
		}
		return won, told
	}
	two := []string{rootKey, aliceKey}
	for i := range 10 {
		name := fmt.Sprintf("racer-%d", i)
		if won, told := race(docCreateUser, given{"email": name + "@acme.test"}, rootKey, rootKey, rootKey); won != 1 || told != 2 {
			t.Errorf("creating a person: %d won, %d were told", won, told)
		}
		if won, told := race(docCreateTeam, given{"teamName": "team-" + name}, rootKey, rootKey); won != 1 || told != 1 {
			t.Errorf("creating a team: %d won, %d were told", won, told)
		}
		if won, told := race(docInvite, given{"entity": "vision", "username": name, "admin": i%2 == 0}, two...); won != 1 || told != 1 {
			t.Errorf("inviting: %d won, %d were told", won, told)
		}
		id := memberOf(t, a.graphQL(aliceKey, docTeam, given{"name": "vision"}, nil), name).ID
		if won, told := race(docUninvite, given{"entity": "vision", "id": id}, two...); won != 1 || told != 1 {
			t.Errorf("removing: %d won, %d were told", won, told)
		}
		if won, _ := race(docAccount, given{"entity": "vision", "description": "bot"}, two...); won != 2 {
			t.Errorf("making service accounts: %d won", won)
		}
		seen := make(map[string]bool)
		for _, key := range two {
			list := membersOf(t, a.graphQL(key, docTeam, given{"name": "vision"}, nil))
			last := list[len(list)-1]
			if last.APIKey == "" || seen[last.APIKey] {
				t.Errorf("the last member is %+v", last)
			}
			seen[last.APIKey] = true
			for _, m := range list[:len(list)-1] {
				if m.APIKey != "" {
					t.Errorf("another's key is shown: %+v", m)
				}
			}
		}
	}
	t.Run("a key is shown once", func(t *testing.T) {
		a.graphQL(aliceKey, docAccount, given{"entity": "vision", "description": "once"}, nil)
		mustShowOneKey(t, slices.Repeat([]*process{a.process}, 8)...)
	})
}

// TestAdministrationAudit: every change is in the log with who did it, by which right, and what was before and
// is after; a key never is.
func TestAdministrationAudit(t *testing.T) {
	a := startAttacked(t, config{})
	a.graphQL(rootKey, docCreateUser, given{"email": "carol@acme.test", "admin": true}, nil)
	a.graphQL(rootKey, docCreateTeam, given{"teamName": "audio", "teamAdminUserName": "carol"}, nil)
	a.graphQL(aliceKey, docInvite, given{"entity": "vision", "username": "carol"}, nil)
	id := memberOf(t, a.graphQL(aliceKey, docTeam, given{"name": "vision"}, nil), "carol").ID
	a.graphQL(aliceKey, docUninvite, given{"entity": "vision", "id": id}, nil)
	a.graphQL(aliceKey, docAccount, given{"entity": "vision", "description": "bot"}, nil)
	bot := memberOf(t, a.graphQL(aliceKey, docTeam, given{"name": "vision"}, nil), "bot")
	a.graphQL(aliceKey, docUninvite, given{"entity": "vision", "id": bot.ID}, nil)
	made := a.graphQL(victorKey, docKey, given{"description": "laptop"}, nil)
	secret := secretKey.FindString(made.body)
	a.graphQL(victorKey, docDeleteKey, given{"id": keyIDs(t, a.graphQL(victorKey, docViewer, nil, nil))[1]}, nil)
	a.graphQL(malloryKey, docInvite, given{"entity": "vision", "username": "mallory"}, nil) // refused
	a.upstream.saysJSON(`{"data":{"result":{"project":{"id":"x","name":"made","entityName":"vision"},"model":null,"inserted":true}}}`)
	for _, access := range []any{nil, "PRIVATE", "USER_READ"} {
		a.graphQL(aliceKey, docProject, given{"input": given{"name": "made", "entityName": "vision", "access": access}}, nil)
	}

	a.changes(11)
	var got []string
	for line := range strings.Lines(a.logs.String()) {
		var e struct {
			Msg, Action, Reason, Username, Principal, Client, Team string
			RequestID                                              string `json:"request_id"`
			Before, After                                          map[string]any
		}
		if json.Unmarshal([]byte(line), &e) != nil || e.Msg != "directory changed" || e.Reason == "admin_endpoint" {
			continue
		}
		if strings.HasPrefix(e.Action, "project:") {
			e.RequestID, e.Client = "?", "127.0.0.1" // recorded with the answer, not with the request
		}
		if e.RequestID == "" || e.Client != "127.0.0.1" || !strings.HasPrefix(e.Principal, "user:usr_") {
			t.Errorf("event %s", line)
		}
		what := func(record map[string]any) any {
			for _, name := range []string{"username", "role", "visibility", "name"} {
				if record[name] != nil {
					return record[name]
				}
			}
			return nil
		}
		got = append(got, fmt.Sprintf("%s by %s (%s) team %q: %v -> %v", e.Action, e.Username, e.Reason, e.Team, what(e.Before), what(e.After)))
	}
	want := []string{
		`user:create by root (organization_admin) team "": <nil> -> carol`,
		`team:create by root (organization_admin) team "audio": <nil> -> audio`,
		`team:invite_user by alice (team_admin) team "vision": <nil> -> member`,
		`team:uninvite by alice (team_admin) team "vision": member -> <nil>`,
		`team:create_service_account by alice (team_admin) team "vision": <nil> -> bot`,
		`user:create_api_key by alice (team_admin) team "vision": <nil> -> made with the SDK`,
		`team:delete_service_account by alice (team_admin) team "vision": bot -> <nil>`,
		`user:create_api_key by victor (self) team "": <nil> -> laptop`,
		`user:delete_api_key by victor (self) team "": laptop -> <nil>`,
		`project:create by alice () team "vision": <nil> -> team`,
		`project:update by alice () team "vision": team -> public`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("the log holds\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if !strings.Contains(a.logs.String(), "does not say what it is for") {
		t.Error("nobody is warned of a service account that is called bot")
	}
	if out := a.mustIAM("service-account", "create", "test-sa-2", "--team", "vision"); !strings.Contains(out, "does not say what it is for") {
		t.Errorf("the command says %q", out)
	}
	if out := a.mustIAM("doctor"); !strings.Contains(out, "1 of 4 have a name that does not say what they are for") || !strings.Contains(out, "test-sa-2") {
		t.Errorf("doctor says %s", out)
	}
	for _, key := range []string{secret, bot.APIKey} {
		if key == "" || strings.Contains(a.logs.String(), key) {
			t.Errorf("the key %q is in the log, or was not made", key)
		}
	}
}

// TestAdministrationSettings: W&B's switches hold at this door too (ENV-9, ENV-12, ENV-13).
func TestAdministrationSettings(t *testing.T) {
	a := startAttacked(t, config{env: []string{"GORILLA_DISABLE_ADMIN_TEAM_ACCESS=true", "GORILLA_ALLOW_USER_TEAM_CREATION=true", "GORILLA_DISABLE_TEAM_SERVICE_ACCOUNT_CREATION=true"}})
	for name, c := range map[string]struct {
		key, query string
		v          given
		status     int
		reason     string
	}{
		"an admin joins":                     {rootKey, docInvite, given{"entity": "vision", "username": "root"}, 403, "admin_team_access_disabled"},
		"an admin joins by address":          {rootKey, docInvite, given{"entity": "vision", "email": "ROOT@acme.test"}, 403, "admin_team_access_disabled"},
		"an admin adds another":              {rootKey, docInvite, given{"entity": "vision", "username": "mallory"}, 200, ""},
		"an admin makes a team for himself":  {rootKey, docCreateTeam, given{"teamName": "own"}, 403, "admin_team_access_disabled"},
		"an admin makes it, named":           {rootKey, docCreateTeam, given{"teamName": "own", "teamAdminUserName": "Root"}, 403, "admin_team_access_disabled"},
		"an admin makes a team for another":  {rootKey, docCreateTeam, given{"teamName": "others", "teamAdminUserName": "victor"}, 200, ""},
		"a member makes a team":              {victorKey, docCreateTeam, given{"teamName": "mine"}, 200, ""},
		"a team admin and a service account": {aliceKey, docAccount, given{"entity": "vision", "description": "x"}, 403, "team_service_accounts_disabled"},
	} {
		t.Run(name, func(t *testing.T) { a.refuses(t, a.graphQL(c.key, c.query, c.v, nil), c.status, c.reason) })
	}
}

// TestAdministrationInShadow: what would change the gateway's own record is refused in shadow too.
func TestAdministrationInShadow(t *testing.T) {
	a := startAttacked(t, config{global: "enforcement shadow"})
	before := a.exportedDirectory(t)
	a.refuses(t, a.graphQL(victorKey, docCreateUser, given{"email": "x@acme.test", "admin": true}, nil), 403, "organization_admin_required")
	a.refuses(t, a.graphQL(victorKey, docInvite, given{"entity": "vision", "username": "victor", "admin": true}, nil), 403, "team_admin_required")
	a.refuses(t, a.graphQL(victorKey, docUsers, given{"query": ""}, nil), 403, "organization_admin_required")
	for _, key := range []string{"", "local-ffffffffffffffffffffffffffffffffffffffff"} {
		a.refuses(t, a.graphQL(key, docCreateUser, given{"email": "x@acme.test", "admin": true}, nil), 401, "no_credential")
		a.refuses(t, a.graphQL(key, docUsers, given{"query": ""}, nil), 401, "no_credential")
	}
	if after := a.exportedDirectory(t); after != before {
		t.Errorf("the directory was\n%s\nand is\n%s", before, after)
	}
	// Whoever shadow lets pass may make a project at the server; it is recorded, as nobody's.
	a.upstream.saysJSON(`{"data":{"result":{"project":{"id":"x","name":"made","entityName":"vision"},"model":null,"inserted":true}}}`)
	if got := a.graphQL("local-ffffffffffffffffffffffffffffffffffffffff", docProject, given{"input": given{"name": "made", "entityName": "vision"}}, nil); got.status != http.StatusOK {
		t.Errorf("answered %d %s", got.status, got.body)
	}
	if list := a.mustIAM("project", "list", "vision"); !strings.Contains(list, "made") {
		t.Errorf("the projects are %s", list)
	}
}

// TestNewKeyOutlivesARestart: the gateway may go between the request that makes a service account and the one
// that reads its key.
func TestNewKeyOutlivesARestart(t *testing.T) {
	a := startAttacked(t, config{})
	a.graphQL(aliceKey, docAccount, given{"entity": "vision", "description": "bot"}, nil)
	a.stop()
	files, err := filepath.Glob(filepath.Join(a.dir, "data", "*"))
	if err != nil || len(files) == 0 {
		t.Fatal("no data", err)
	}
	p := start(t, config{dir: a.dir, upstream: a.upstream.host()})
	m := memberOf(t, p.graphQL(aliceKey, docTeam, given{"name": "vision"}, nil), "bot")
	if got := p.graphQL(m.APIKey, `{viewer{username}}`, nil, nil); got.status != 200 || !strings.Contains(got.body, `"bot"`) {
		t.Errorf("the key %q: %d %s", m.APIKey, got.status, got.body)
	}
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), m.APIKey) {
			t.Errorf("%s holds the key", f)
		}
	}
}

// TestAdministrationCountsAtOnce: who is taken out of a team, and whose key is deleted, is out with the next request (Z05).
func TestAdministrationCountsAtOnce(t *testing.T) {
	a := startAttacked(t, config{})
	const read = `{project(name:"team",entityName:"vision"){id}}`
	id := memberOf(t, a.graphQL(aliceKey, docTeam, given{"name": "vision"}, nil), "victor").ID
	for range 5 {
		if got := a.graphQL(victorKey, read, nil, nil); got.status != 200 {
			t.Fatalf("answered %d %s", got.status, got.body)
		}
		a.upstream.take()
		a.graphQL(aliceKey, docUninvite, given{"entity": "vision", "id": id}, nil)
		a.refuses(t, a.graphQL(victorKey, read, nil, nil), http.StatusForbidden, "team_project")
		a.graphQL(aliceKey, docInvite, given{"entity": "vision", "username": "victor"}, nil)
		made := secretKey.FindString(a.graphQL(victorKey, docKey, given{"description": "x"}, nil).body)
		if got := a.graphQL(made, read, nil, nil); got.status != 200 {
			t.Fatalf("answered %d %s", got.status, got.body)
		}
		a.upstream.take()
		keys := keyIDs(t, a.graphQL(victorKey, docViewer, nil, nil))
		for _, key := range keys[1:] {
			a.graphQL(rootKey, docDeleteKey, given{"id": key}, nil) // as an admin
		}
		a.refuses(t, a.graphQL(made, read, nil, nil), http.StatusUnauthorized, "unknown_credential")
	}
}

// mustShowOneKey reads the team at all gateways at the same moment, of which one alone shows the key that waits.
func mustShowOneKey(t *testing.T, gateways ...*process) {
	t.Helper()
	var shown atomic.Int64
	var all sync.WaitGroup
	for _, p := range gateways {
		all.Go(func() {
			shown.Add(int64(strings.Count(p.graphQL(aliceKey, docTeam, given{"name": "vision"}, nil).body, "wbg-")))
		})
	}
	all.Wait()
	if n := shown.Load(); n != 1 {
		t.Errorf("the key was shown %d times", n)
	}
}
