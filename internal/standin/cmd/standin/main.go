// Standin runs the stand-in W&B server alone, for experiments. It prints its address on stdout and
// every request it answered on stderr.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/standin"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	file := flag.String("config", "", "JSON file with accounts, teams and projects; empty trusts the gateway's headers")
	bodies := flag.Bool("bodies", false, "print bodies of GraphQL requests too")
	flag.Parse()
	if err := run(*listen, *file, *bodies); err != nil {
		log.Fatal(err)
	}
}

func run(address, file string, bodies bool) error {
	config := standin.Config{Trust: true}
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		config = standin.Config{}
		if err := json.Unmarshal(text, &config); err != nil {
			return fmt.Errorf("reading %s: %w", file, err)
		}
	}
	server, err := standin.New(config)
	if err != nil {
		return fmt.Errorf("configuring the stand-in: %w", err)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Printf("http://%s\n", listener.Addr())
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		server.ServeHTTP(w, r)
		for _, last := range server.Requests() {
			log.Printf("%d %s %s %s %v", last.Status, last.Method, last.Target, last.Operation, last.Roots)
			if bodies && last.Path == "/graphql" {
				log.Printf("  %s", last.Body)
			}
		}
		server.ResetRequests()
	})
	return (&http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}).Serve(listener)
}
