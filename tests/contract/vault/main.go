// Serves a real Vault core of its own module, in memory and unsealed, with the transit engine mounted, for the contract of
// the KMS port: `make vault`. Prints its address; ends with its standard input, so that no test leaves it behind.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	log "github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/builtin/logical/transit"
	"github.com/hashicorp/vault/helper/namespace"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical/inmem"
	"github.com/hashicorp/vault/vault"
)

type none struct{}

func (none) Contains(string, consts.PluginType) bool { return false }
func (none) Get(string, consts.PluginType) (func() (interface{}, error), bool) {
	return nil, false
}
func (none) Keys(consts.PluginType) []string { return nil }
func (none) DeprecationStatus(string, consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Unknown, false
}
func (none) IsBuiltinEntPlugin(string, consts.PluginType) bool { return false }

func main() {
	token := flag.String("token", "root", "the root token")
	flag.Parse()
	if err := serve(*token); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(token string) error {
	logger := log.New(&log.LoggerOptions{Level: log.Warn, Output: os.Stderr})
	storage, err := inmem.NewInmem(nil, logger)
	if err != nil {
		return err
	}
	core, err := vault.NewCore(&vault.CoreConfig{
		Physical:        storage,
		Logger:          logger,
		DisableMlock:    true,
		BuiltinRegistry: none{},
		LogicalBackends: map[string]logical.Factory{"transit": transit.Factory, "kv": vault.LeasedPassthroughBackendFactory},
	})
	if err != nil {
		return err
	}
	ctx := namespace.ContextWithNamespace(context.Background(), namespace.RootNamespace)
	shares := &vault.SealConfig{SecretShares: 1, SecretThreshold: 1}
	started, err := core.Initialize(ctx, &vault.InitParams{BarrierConfig: shares})
	if err != nil {
		return err
	}
	if _, err = core.Unseal(started.SecretShares[0]); err != nil {
		return err
	}
	request := func(path string, data map[string]interface{}) error {
		answer, err := core.HandleRequest(ctx, &logical.Request{
			Operation: logical.UpdateOperation, ClientToken: started.RootToken, Path: path, Data: data,
		})
		if err == nil && answer != nil {
			err = answer.Error()
		}
		return err
	}
	if err = request("auth/token/create", map[string]interface{}{
		"id": token, "policies": []string{"root"}, "no_parent": true, "no_default_policy": true,
	}); err != nil {
		return err
	}
	if err = request("sys/mounts/transit", map[string]interface{}{"type": "transit"}); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("http://%s\n", listener.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	return http.Serve(listener, vaulthttp.Handler.Handler(&vault.HandlerProperties{
		Core: core, ListenerConfig: &configutil.Listener{},
	}))
}
