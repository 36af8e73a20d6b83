package caddymodule

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
	"github.com/wandb-gateway/wandb-gateway/internal/store/embedded"
	"github.com/wandb-gateway/wandb-gateway/internal/store/migrate"
)

const (
	// exitUnfinished is the exit code of a move that broke off and goes on when it is repeated.
	exitUnfinished = 2
	// progressEvery is how many records pass between two lines about them.
	progressEvery = 100_000
)

func migrateCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "migrate --from CONFIG --to CONFIG", Args: cobra.NoArgs,
		Short: "Moves the organization's records to another store, while no gateway runs",
		Long: `
Copies all records of the organization from the store of one configuration to that of another, and
compares them: people, teams, projects, keys, sessions, tokens, signing keys, and whatever else there is.
CONFIG is a configuration of the gateway, as it runs now and as it shall run: each names the store, and
both the same organization and master key, for records are moved as they are sealed.

Stop all gateways first, and start them with the new configuration when this has ended with success. The
old store is only read. If it breaks off, no gateway starts with the new store, and the same command goes on.

Exit codes: 0 all is moved, and the same on both sides; 1 refused, and nothing was written; 2 it broke off,
and goes on when it is run again.
`,
	}
	from := c.Flags().String("from", "", "The `CONFIG` with the store as it is now")
	to := c.Flags().String("to", "", "The `CONFIG` with the store to move to")
	adapter := c.Flags().String("adapter", "", "The `NAME` of what both are written in, as for the command run")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *from == "" || *to == "" {
			return errors.New("--from and --to are both needed: the configuration as it is now, and the one to move to")
		}
		c.SilenceUsage = true // from here on errors are not about how the command was written
		err := runMigrate(c, *from, *to, *adapter)
		if _, unfinished := errors.AsType[*migrate.UnfinishedError](err); unfinished {
			c.SilenceErrors = true
			c.PrintErrf("Error: %v\nNot all is moved. Start no gateway with the new configuration, but run the same command again, which goes on.\n", err)
			return caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) { return exitUnfinished, nil })(c, nil)
		}
		return err
	}
	return c
}

func runMigrate(c *cobra.Command, fromFile, toFile, adapter string) error {
	ctx := c.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	from, err := readStoreConfig(fromFile, adapter)
	if err != nil {
		return fmt.Errorf("--from %s: %w", fromFile, err)
	}
	to, err := readStoreConfig(toFile, adapter)
	if err != nil {
		return fmt.Errorf("--to %s: %w", toFile, err)
	}
	if err := checkPair(from, to); err != nil {
		return err
	}
	source, err := openSource(ctx, from, to)
	if err != nil {
		return err
	}
	defer source.Close()
	opened, err := to.Store.open(to.logger)
	if err != nil {
		return fmt.Errorf("--to: %w", err)
	}
	defer opened.Close()
	stderr := c.ErrOrStderr()
	if err := cmp.Or(checkNobodyListens(ctx, stderr, from, source), checkNobodyListens(ctx, stderr, to, opened)); err != nil {
		return err
	}
	target, ok := opened.(store.Advancer)
	if !ok {
		return fmt.Errorf("--to: nothing can be moved into a store of this kind (%s)", to.Store)
	}
	fmt.Fprintf(stderr, "moving organization %s from %s to %s\n", from.Organization, from.Store, to.Store)
	result, err := migrate.Run(ctx, migrate.Move{
		From: source, To: target, FromName: from.Store.String(), ToName: to.Store.String(),
		Space: from.space(), Identity: masterKeyPath(from.space()), Now: time.Now,
		Report: func(p migrate.Progress) { printProgress(stderr, p) },
	})
	if errors.Is(err, context.Canceled) {
		err = &migrate.UnfinishedError{Err: errors.New("interrupted")}
	}
	if err == nil {
		// They stand in a space of their own, from which nobody's access depends: they are copied and not compared.
		if lost := directory.CopyUses(ctx, source, target, from.space()); lost != nil {
			err = &migrate.UnfinishedError{Err: fmt.Errorf("all else is moved, but not when API keys were last used: %w", lost)}
		}
	}
	if err == nil {
		err = opened.Close() // once more is harmless
	}
	if err != nil {
		return err
	}
	noteOthers(ctx, stderr, from, source)
	fmt.Fprintf(stderr, "start the gateways with %s, and none with the old store: it does not learn what is revoked from now on\n", toFile)
	return printMigrated(c, from, to, result)
}

// readStoreConfig reads what a configuration says about its store. It opens nothing, and needs no
// variables but those of the store.
func readStoreConfig(file, adapter string) (*App, error) {
	config, _, _, err := caddycmd.LoadConfig(file, adapter)
	if err != nil {
		return nil, err
	}
	var whole struct {
		Apps map[string]json.RawMessage `json:"apps"`
	}
	if err := json.Unmarshal(config, &whole); err != nil {
		return nil, err
	}
	raw, ok := whole.Apps["wandb_gateway"]
	if !ok {
		return nil, errors.New("it has no gateway; write a global block wandb_gateway with organization and store")
	}
	a := &App{logger: caddy.Log()}
	if err := caddy.StrictUnmarshalJSON(raw, a); err != nil {
		return nil, err
	}
	a.fillDefaults()
	if err := expandAll(caddy.NewReplacer(), a.storeValues()); err != nil {
		return nil, err
	}
	if err := a.Store.absolute(); err != nil {
		return nil, err
	}
	return a, a.checkStore()
}

// checkPair refuses two configurations between which nothing can be moved.
func checkPair(from, to *App) error {
	switch {
	case from.space() != to.space():
		return iam.Invalidf("the organization is %s in the one configuration and %s in the other, and would not find its records: write the same `organization` and `formerly` into both", from.space(), to.space())
	case *from.Store == *to.Store, sameFolder(from.Store, to.Store):
		return iam.Invalidf("both configurations name the same store, %s: there is nothing to move", from.Store)
	}
	return nil
}

// sameFolder reports whether two embedded stores are one, by whatever names.
func sameFolder(a, b *Store) bool {
	if a.Backend != storeEmbedded || b.Backend != storeEmbedded {
		return false
	}
	one, err := os.Stat(a.Path)
	if err != nil {
		return false
	}
	other, err := os.Stat(b.Path)
	return err == nil && os.SameFile(one, other)
}

// openSource opens the store to move from, and makes sure that both configurations have the master key
// with which it was filled: what is sealed cannot be opened at the target otherwise.
func openSource(ctx context.Context, from, to *App) (_ store.Store, err error) {
	if from.Store.Backend == storeEmbedded {
		// Opening would make an empty one.
		if _, err := os.Lstat(filepath.Join(from.Store.Path, embedded.FileName)); err != nil {
			return nil, iam.Invalidf("--from: there is no store in %s: name the folder that the gateway runs with; a path counts from the folder in which this command is started", from.Store.Path)
		}
	}
	ours, err := from.existingMasterKey()
	if err != nil {
		return nil, fmt.Errorf("--from: %w", err)
	}
	theirs, err := to.existingMasterKey()
	if err != nil {
		return nil, fmt.Errorf("--to: %w", err)
	}
	s, err := from.Store.open(from.logger)
	if err != nil {
		return nil, fmt.Errorf("--from: %w", err)
	}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if err := migrate.CheckFinished(ctx, s, from.space()); err != nil {
		return nil, fmt.Errorf("--from: %w", err)
	}
	record, err := s.Get(ctx, masterKeyPath(from.space()))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, iam.Invalidf("--from: %s holds no directory of the organization %s: look whether the configuration names the right store and organization", from.Store, from.space())
	case err != nil:
		return nil, fmt.Errorf("--from: %w", err)
	case opensCheck(ours, record) != nil:
		return nil, iam.Invalidf("--from: the master key is not the one with which %s was filled", from.Store)
	case opensCheck(theirs, record) != nil:
		return nil, iam.Invalidf("--to: the master key is not the one with which %s was filled, and records are moved as they are sealed: name the same key in both configurations, such as `master_key_file`", from.Store)
	}
	return s, nil
}

// checkNobodyListens refuses a server whose gateways for this organization still run: they would go on
// with the old store, or with half of the new one. A file is locked by its gateway.
func checkNobodyListens(ctx context.Context, w io.Writer, a *App, s store.Store) error {
	shared, ok := s.(interface {
		Listeners(ctx context.Context, space string) (int, error)
	})
	if !ok {
		return nil
	}
	listeners, err := shared.Listeners(ctx, a.space())
	if err != nil {
		fmt.Fprintf(w, "cannot tell whether gateways still use %s, make sure that none does: %v\n", a.Store, err)
		return nil
	}
	if listeners > 0 {
		return iam.Conflictf("%s is still in use by gateways of the organization %s (%d connected): stop all of them first. One whose machine is gone counts for some minutes, until that server has noticed", a.Store, a.space(), listeners)
	}
	return nil
}

// existingMasterKey is masterKey, but makes none.
func (a *App) existingMasterKey() (keys.MasterKey, error) {
	if a.masterKeyText() == "" && a.MasterKeyFile == "" && a.Store.Backend == storeEmbedded {
		if _, err := os.Lstat(a.ownMasterKeyFile()); errors.Is(err, fs.ErrNotExist) {
			return keys.MasterKey{}, iam.Invalidf("the configuration names no master key and there is none in %s, so that its gateway would make a new one, which opens nothing of what there is: write `master_key_file FILE`, or copy the file of the key there, with mode 0600", a.ownMasterKeyFile())
		}
	}
	return masterKey(a)
}

func printProgress(w io.Writer, p migrate.Progress) {
	switch p.Phase {
	case migrate.GoingOn:
		fmt.Fprintln(w, "going on with a move that did not end")
	case migrate.Copying:
		if p.Records > 0 && p.Records%progressEvery == 0 {
			fmt.Fprintf(w, "%d records copied\n", p.Records)
		}
	case migrate.Comparing:
		if p.Records > 0 && p.Records%progressEvery == 0 {
			fmt.Fprintf(w, "%d records compared\n", p.Records)
		}
	}
}

// noteOthers names the organizations that stay behind in a file; on a server they are other gateways'.
func noteOthers(ctx context.Context, w io.Writer, from *App, source store.Store) {
	if from.Store.Backend != storeEmbedded {
		return
	}
	for after := ""; ; {
		first, err := source.List(ctx, "", after, 1)
		if err != nil || len(first) == 0 {
			return
		}
		space := store.Space(first[0].Key)
		if space != from.space() && !directory.IsUsesSpace(space) {
			fmt.Fprintf(w, "%s also holds records of the organization %s, which stay there: move them with a configuration of that organization\n", from.Store, space)
		}
		after = space + "0" // behind all that begins with space and a slash
	}
}

// printMigrated prints what was moved.
func printMigrated(c *cobra.Command, from, to *App, r migrate.Result) error {
	if asJSON, _ := c.Flags().GetBool("json"); asJSON {
		answer, err := json.Marshal(map[string]any{
			"organization": from.Organization, "from": from.Store.String(), "to": to.Store.String(),
			"records": r.Records, "bytes": r.Bytes, "sha256": r.SHA256, "written": r.Written, "already": r.Already,
		})
		if err != nil {
			return err
		}
		return printJSON(c.OutOrStdout(), answer)
	}
	what := "is moved to"
	if r.Already {
		what = "was already moved to"
	}
	_, err := fmt.Fprintf(c.OutOrStdout(), "organization %s %s %s: %d records, %d bytes, compared and the same on both sides, sha256 %s\n",
		from.Organization, what, to.Store, r.Records, r.Bytes, r.SHA256)
	return err
}
