# A small image from source: the static binary, certificate authorities, a user without privileges.
#
#	docker build -t wandb-gateway .
#	docker run -p 8080:8080 -v wandb-gateway:/data -e WANDB_UPSTREAM=https://your-wandb wandb-gateway
#
# /data holds the store, the master key and certificates; nothing else is written. For other
# configurations than the repository's own Caddyfile:
#
#	docker run ... -v ./my.caddyfile:/etc/wandb-gateway/Caddyfile:ro wandb-gateway

FROM golang:1.26.8 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o /out/wandb-gateway ./cmd/wandb-gateway
RUN mkdir -m 0700 /out/data

# Nothing but the binary, certificate authorities and the data: no shell, no libraries.
FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/wandb-gateway /usr/bin/wandb-gateway
COPY --from=build --chown=65532:65532 /out/data /data
COPY Caddyfile /etc/wandb-gateway/Caddyfile
ENV GATEWAY_DATA=/data XDG_DATA_HOME=/data XDG_CONFIG_HOME=/data/config
WORKDIR /
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/bin/wandb-gateway"]
CMD ["run", "--config", "/etc/wandb-gateway/Caddyfile"]
