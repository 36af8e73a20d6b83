package iam

import "testing"

func TestVagueName(t *testing.T) {
	for _, name := range []string{"service-account-1", "test-sa", "temp", "TEST", "bot2", "tmp_sa.3", "42", "serviceaccount7"} {
		if !VagueName(name) {
			t.Errorf("%s passes for a name that says something", name)
		}
	}
	for _, name := range []string{"ci-model-training", "nightly-eval-pipeline", "prod-inference-monitor", "test-detector", "sa-vision", "ci"} {
		if VagueName(name) {
			t.Errorf("%s is called vague", name)
		}
	}
}
