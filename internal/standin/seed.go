package standin

import (
	"cmp"
	"fmt"
)

// ownFeatures are the features of serverInfo that the stand-in can live up to.
var ownFeatures = []string{
	"LARGE_FILENAMES", "ARTIFACT_TAGS", "CLIENT_IDS", "ARTIFACT_COLLECTION_MEMBERSHIP_FILES",
	"ARTIFACT_COLLECTION_MEMBERSHIP_FILE_DOWNLOAD_HANDLER", "PROJECT_ARTIFACT_COLLECTION_MEMBERSHIP",
	"USE_ARTIFACT_WITH_ENTITY_AND_PROJECT_INFORMATION", "ARTIFACT_MEMBERSHIP_IN_LINK_ARTIFACT_RESPONSE",
	"TOTAL_COUNT_IN_FILE_CONNECTION", "ARTIFACT_V2_DOWNLOAD_HANDLER_SUPPORTS_ARTIFACT_ID",
	"MARK_RUN_FILES_UPLOADED",
}

// seed fills the state from the configuration.
func (s *Server) seed() error {
	for _, u := range s.config.Users {
		if u.Username == "" || s.state.user(u.Username) != nil {
			return fmt.Errorf("user %q: the name is empty or taken", u.Username)
		}
		added := s.state.addUser(user{username: u.Username, email: u.Email, name: u.Name, admin: u.Admin})
		if u.Password != "" {
			s.passwords[u.Username] = u.Password
		}
		for _, key := range u.Keys {
			s.state.addKey(added, key, "")
		}
	}
	for _, t := range s.config.Teams {
		if err := s.seedTeam(t); err != nil {
			return fmt.Errorf("team %q: %w", t.Name, err)
		}
	}
	for _, p := range s.config.Projects {
		if err := s.seedProject(p); err != nil {
			return fmt.Errorf("project %s/%s: %w", p.Entity, p.Name, err)
		}
	}
	for _, username := range s.config.Assertions {
		if s.state.user(username) == nil {
			return fmt.Errorf("assertion of unknown user %q", username)
		}
	}
	return nil
}

func (s *Server) seedTeam(t Team) error {
	if t.Name == "" || s.state.teams[t.Name] != nil {
		return fmt.Errorf("the name is empty or taken")
	}
	added := s.state.addTeam(t.Name)
	for _, m := range t.Members {
		u := s.state.user(m.User)
		if u == nil {
			return fmt.Errorf("unknown member %q", m.User)
		}
		s.state.join(added, u, cmp.Or(m.Role, "member"))
	}
	for _, a := range t.ServiceAccounts {
		account := s.state.addUser(user{username: a.Name, service: true, team: added})
		s.state.join(added, account, "member")
		for _, key := range a.Keys {
			s.state.addKey(account, key, "")
		}
	}
	return nil
}

func (s *Server) seedProject(p Project) error {
	t := s.state.teams[p.Entity]
	if t == nil {
		return fmt.Errorf("unknown entity")
	}
	owner := s.state.user(p.Owner)
	if p.Owner != "" && owner == nil {
		return fmt.Errorf("unknown owner %q", p.Owner)
	}
	added := s.state.addProject(t, p.Name, p.Access, owner, now())
	for _, name := range p.Members {
		u := s.state.user(name)
		if u == nil {
			return fmt.Errorf("unknown member %q", name)
		}
		added.invited = append(added.invited, u)
	}
	return nil
}
