package main

import (
	"encoding/json"
	"fmt"
	"strings"
)

// host is the same on both sides, so that the bytes are.
const host = "wandb.bench.test"

// request returns the bytes of a request as the SDK's own client sends it (sdk-wire 1.3).
func request(method, target string, c caller, body []byte) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: wandb-core\r\n", method, target, host)
	fmt.Fprintf(&b, "%s\r\nAccept-Encoding: gzip\r\n", c.credential)
	if body != nil {
		fmt.Fprintf(&b, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n")
	b.Write(body)
	return []byte(b.String())
}

// getFile downloads a run's file.
func getFile(c caller) []byte {
	return request("GET", fmt.Sprintf("/files/%s/%s/%s/config.yaml", c.entity, c.project, c.run), c, nil)
}

// postStream sends a chunk of metrics whose body has size bytes.
func postStream(size int) func(caller) []byte {
	return func(c caller) []byte {
		target := fmt.Sprintf("/files/%s/%s/%s/file_stream", c.entity, c.project, c.run)
		return request("POST", target, c, stream(size))
	}
}

// postUpsert sends the mutation that opens a run, with a config that fills the body up to size bytes.
func postUpsert(size int) func(caller) []byte {
	return func(c caller) []byte { return request("POST", "/graphql", c, upsert(c, size)) }
}

// stream writes a file_stream body of exactly size bytes (sdk-wire 3.2).
func stream(size int) []byte {
	body := func(lines []string) []byte {
		return encode(map[string]any{"files": map[string]any{
			"wandb-history.jsonl": map[string]any{"offset": 0, "content": lines},
		}})
	}
	var lines []string
	for step := 0; ; step++ {
		line := fmt.Sprintf(`{"_step":%d,"_runtime":%d.25,"_timestamp":1760000000.5,"loss":0.%06d,"accuracy":0.9%05d}`,
			step, step, 999999-step, step)
		if len(body(append(lines, line))) > size {
			break
		}
		lines = append(lines, line)
	}
	return fill(size, body, lines)
}

// fill lengthens the last line until the body has exactly size bytes.
func fill(size int, body func([]string) []byte, lines []string) []byte {
	lines[len(lines)-1] += strings.Repeat(" ", size-len(body(lines)))
	return body(lines)
}

// upsertDocument opens or changes a run. It has the variables and the selection of the SDK's document
// of that name (sdk-wire 4.2); its text is the same in every request.
const upsertDocument = `
mutation UpsertBucket ($id: String, $name: String, $project: String, $entity: String, $groupName: String, $description: String, $displayName: String, $notes: String, $commit: String, $config: JSONString, $host: String, $debug: Boolean, $program: String, $repo: String, $jobType: String, $state: String, $sweep: String, $tags: [String!], $summaryMetrics: JSONString) {
	upsertBucket(input: {id:$id,name:$name,modelName:$project,entityName:$entity,groupName:$groupName,description:$description,displayName:$displayName,notes:$notes,config:$config,commit:$commit,host:$host,debug:$debug,jobProgram:$program,jobRepo:$repo,jobType:$jobType,state:$state,sweep:$sweep,tags:$tags,summaryMetrics:$summaryMetrics}) {
		bucket {
			id
			name
			displayName
			description
			config
			sweepName
			historyLineCount
			project {
				id
				name
				entity {
					id
					name
				}
			}
		}
		inserted
	}
}
`

// upsert writes a GraphQL body of exactly size bytes. The config is JSON within a JSON string, full of
// escapes, as the SDK sends it.
func upsert(c caller, size int) []byte {
	type variables struct {
		ID             *string  `json:"id"`
		Name           string   `json:"name"`
		Project        string   `json:"project"`
		Entity         string   `json:"entity"`
		GroupName      *string  `json:"groupName"`
		Description    *string  `json:"description"`
		DisplayName    *string  `json:"displayName"`
		Notes          *string  `json:"notes"`
		Commit         *string  `json:"commit"`
		Config         string   `json:"config"`
		Host           string   `json:"host"`
		Debug          *bool    `json:"debug"`
		Program        string   `json:"program"`
		Repo           *string  `json:"repo"`
		JobType        *string  `json:"jobType"`
		State          *string  `json:"state"`
		Sweep          *string  `json:"sweep"`
		Tags           []string `json:"tags"`
		SummaryMetrics *string  `json:"summaryMetrics"`
	}
	body := func(parameters []string) []byte {
		return encode(struct {
			Query         string    `json:"query"`
			Variables     variables `json:"variables"`
			OperationName string    `json:"operationName"`
		}{upsertDocument, variables{
			Name: c.run, Project: c.project, Entity: c.entity, Host: "node-1", Program: "train.py", Tags: []string{"bench"},
			Config: "{" + strings.Join(parameters, ",") + "}",
		}, "UpsertBucket"})
	}
	parameters := []string{`"learning_rate":{"value":0.001}`}
	for i := 0; ; i++ {
		next := fmt.Sprintf(`"layer_%03d":{"desc":null,"value":%d}`, i, 64+i)
		if len(body(append(parameters, next))) > size {
			break
		}
		parameters = append(parameters, next)
	}
	return fill(size, body, parameters)
}

// encode writes JSON of values that always have one.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // a programming error: nothing from outside is in v
	}
	return b
}
