package directory_test

import (
	"testing"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// TestLikeNamesAreJudgedAsOne is threat Z10: a restricted project is not entered under a spelling
// that the server's database takes for its name.
func TestLikeNamesAreJudgedAsOne(t *testing.T) {
	d := newHouse(t)
	team, err := d.CreateTeam(t.Context(), "vision")
	if err != nil {
		t.Fatal(err)
	}
	create := func(name string, v iam.Visibility) iam.ProjectID {
		t.Helper()
		c, err := d.CreateProject(t.Context(), directory.NewProject{Entity: team.After.ID.Entity(), Name: name, Visibility: v})
		if err != nil {
			t.Fatal(err)
		}
		return c.After.ID
	}
	found := func(name string) (iam.Visibility, bool) {
		t.Helper()
		var f authz.Facts
		if f, err = d.Facts(t.Context(), nil, "vision", name); err != nil {
			t.Fatal(err)
		}
		if f.Project == nil {
			return 0, false
		}
		return f.Project.Visibility, true
	}
	secret := create("Detector", iam.VisibilityRestricted)
	for _, name := range []string{"Detector", "detector", "DETECTOR", "Détector", "De\u0301tector", "ｄｅｔｅｃｔｏｒ", "detecto\u0327r"} {
		if v, ok := found(name); !ok || v != iam.VisibilityRestricted {
			t.Errorf("%q is judged as %s, %t", name, v, ok)
		}
	}
	for _, name := range []string{"detector2", "detect or", "detectors"} {
		if _, ok := found(name); ok {
			t.Errorf("%q is taken for another project", name)
		}
	}
	// An exact name counts for itself; every other spelling for the most closed one.
	create("detector", iam.VisibilityOpen)
	if v, _ := found("detector"); v != iam.VisibilityOpen {
		t.Errorf("the exact name is judged as %s", v)
	}
	if v, _ := found("DETECTOR"); v != iam.VisibilityRestricted {
		t.Errorf("another spelling is judged as %s", v)
	}
	if _, err := d.DeleteProject(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	if v, ok := found("DETECTOR"); !ok || v != iam.VisibilityOpen {
		t.Errorf("after the restricted one was deleted: %s, %t", v, ok)
	}
}
