package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/problem"
	"github.com/wandb-gateway/wandb-gateway/internal/store/embedded"
)

// backupStore is a store that can copy itself while it is in use. A server of one's own, such as Redis,
// has backups of its own.
type backupStore interface {
	Backup(ctx context.Context) (*embedded.Snapshot, error)
}

// serveBackup sends a copy of the store.
func (a *App) serveBackup(w http.ResponseWriter, r *http.Request) {
	snapshot, err := a.backup(r.Context())
	if err != nil {
		problem.From(err).WriteJSON(w)
		return
	}
	defer snapshot.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", strconv.FormatInt(snapshot.Size(), 10))
	n, err := io.Copy(w, snapshot)
	if err != nil {
		a.logger.Error("backup broken off", zap.Int64("bytes", n), zap.Error(err))
		return
	}
	a.logger.Info("backup sent", zap.Int64("bytes", n))
}

func (a *App) backup(ctx context.Context) (*embedded.Snapshot, error) {
	a.mu.Lock()
	state := a.state
	a.mu.Unlock()
	if state == nil {
		return nil, iam.Unavailable("the gateway is just stopping", nil)
	}
	store, ok := state.store.(backupStore)
	if !ok {
		return nil, iam.Invalidf("this gateway's store is a server of its own: back it up with that server's means")
	}
	snapshot, err := store.Backup(ctx)
	if err != nil {
		a.logger.Error("backup failed", zap.Error(err))
		return nil, iam.Unavailable("the store cannot be copied; look at the gateway's log, and at the free space beside its data", err)
	}
	return snapshot, nil
}

func backupCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "backup FILE", Args: cobra.ExactArgs(1),
		Short: "Writes a copy of the embedded store, while the gateway runs; - writes to standard output",
		Long: `
Writes a copy of the embedded store to a new file, while the gateway runs. All that was acknowledged
before is in it. The copy is checked, and FILE appears when it is whole. To restore it, stop the gateway,
put the file into the folder of the store under the name ` + embedded.FileName + `, and start.

The copy cannot be used without the master key, which is not in it: keep that in another place.
`,
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		if args[0] == "-" {
			return download(c, "/backup", c.OutOrStdout())
		}
		return backupTo(c, args[0])
	}
	return c
}

// backupTo writes a backup under another name, and gives it its own when it is whole, sound and durable.
func backupTo(c *cobra.Command, path string) error {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s is there already: name a file that is not, so that no older backup is lost", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".part-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err := errors.Join(download(c, "/backup", f), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := embedded.Verify(f.Name()); err != nil {
		return fmt.Errorf("the copy %w", err)
	}
	err = os.Link(f.Name(), path) // which replaces nothing
	if err != nil && !errors.Is(err, fs.ErrExist) {
		err = os.Rename(f.Name(), path) // a file system without links
	}
	return err
}

// download writes what the gateway sends, and fails unless it is whole.
func download(c *cobra.Command, path string, into io.Writer) error {
	res, err := openAdmin(c, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		answer, err := io.ReadAll(io.LimitReader(res.Body, maxAdminAnswer))
		if err != nil {
			return err
		}
		return adminError(res.StatusCode, answer)
	}
	_, err = io.Copy(into, res.Body)
	return err
}
