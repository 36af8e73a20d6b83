package directory_test

import (
	"context"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// TestFilesNameOwnersWhoLeft: a file names as owner who is not in the team, and so does the export of it. It gives
// them nothing (VIS-12). Nobody can be named who is not there.
func TestFilesNameOwnersWhoLeft(t *testing.T) {
	h := newHouse(t)
	h.imported(`{
		"users": [{"username": "root", "role": "admin"}, {"username": "alice"}, {"username": "bob"}],
		"teams": [{"name": "vision", "members": [{"user": "bob", "role": "admin"}]}],
		"projects": [
			{"entity": "vision", "name": "secret", "visibility": "restricted", "owner": "alice"},
			{"entity": "bob", "name": "diary", "visibility": "restricted", "owner": "alice"}]}`)
	states := map[string]directory.OwnerState{}
	h.ok(h.OwnerStates(context.Background(), func(p *iam.Project, s directory.OwnerState) error {
		states[p.Name] = s
		return nil
	}))
	if states["secret"] != directory.OwnerLeft {
		t.Errorf("the owner's state is %q", states["secret"])
	}
	alice, err := h.FindUser(context.Background(), "alice")
	h.ok(err)
	for entity, project := range map[string]string{"vision": "secret", "bob": "diary"} {
		for _, permission := range []authz.Permission{authz.ProjectRead, authz.RunWrite, authz.ProjectSetVisibility, authz.ProjectManageMembers} {
			if d := h.decides(h.principal(alice.Ref()), permission, entity, project); d.Allowed() {
				t.Errorf("%s/%s: %s is %v", entity, project, permission, d)
			}
		}
	}
	first, revision := h.exported(), h.revision()
	h.imported(first)
	if h.revision() != revision {
		t.Error("importing one's own export changed something")
	}
	empty := newHouse(t)
	empty.imported(first)
	if empty.exported() != first {
		t.Errorf("got\n%s\nwant\n%s", empty.exported(), first)
	}
	_, err = h.Import(context.Background(), []byte(`{"projects": [{"entity": "vision", "name": "secret", "owner": "nobody"}]}`), directory.ImportOptions{})
	h.refused(err, iam.KindInvalid, "nobody")
}
