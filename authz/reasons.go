package authz

import "github.com/wandb-gateway/wandb-gateway/internal/iam"

// Reasons for Allow. Codes are stable: answers, logs, audit and users' alerts quote them.
const (
	ReasonOpenProject         iam.Reason = "open_project"                 // whoever is signed in views and submits (VIS-2)
	ReasonPublicProject       iam.Reason = "public_project"               // whoever is signed in views (VIS-3)
	ReasonAnonymousView       iam.Reason = "anonymous_view"               // the switch for callers without credential is on (VIS-15)
	ReasonTeamMember          iam.Reason = "team_member"                  // by the role in the team (TEAM-10)
	ReasonProjectRole         iam.Reason = "project_role"                 // by a project role that differs from the team role (PROLE-2)
	ReasonCustomRole          iam.Reason = "custom_role"                  // by a permission added to a custom role (ROLE-2)
	ReasonProjectOwner        iam.Reason = "project_owner"                // owns the project (VIS-7)
	ReasonPersonalOwner       iam.Reason = "personal_owner"               // in one's own entity (SCOPE-9)
	ReasonServiceAccount      iam.Reason = "service_account_scope"        // a service account inside its scope (SA-11, SA-20)
	ReasonTeamAdmin           iam.Reason = "team_admin"                   // administers the team (TEAM-2)
	ReasonOrganizationAdmin   iam.Reason = "organization_admin"           // administers the organization (ORG-3, TEAM-8)
	ReasonOrganizationMember  iam.Reason = "organization_member"          // belongs to the organization
	ReasonOrganizationAccount iam.Reason = "organization_service_account" // a service account of the whole organization (SA-18)
	ReasonMembersInvite       iam.Reason = "members_invite"               // members may add others here (TEAM-6)
	ReasonTeamCreationOpen    iam.Reason = "team_creation_open"           // everybody may create teams here (ENV-12)
	ReasonSelf                iam.Reason = "self"                         // about oneself
	ReasonSignedIn            iam.Reason = "signed_in"                    // any valid credential suffices
	ReasonProjectAbsent       iam.Reason = "project_absent"               // nothing there, and the caller may know that
	ReasonCreatesProject      iam.Reason = "creates_project"              // nothing there yet, and the caller may make it
	ReasonUnplacedMembers     iam.Reason = "unplaced_members"             // policy `unplaced members`
	ReasonUnplacedAllowed     iam.Reason = "unplaced_allowed"             // policy `unplaced allow`
)

// Reasons for Deny.
const (
	ReasonAnonymous                    iam.Reason = "anonymous"                       // no credential
	ReasonDeactivated                  iam.Reason = "deactivated"                     // SCIM-29
	ReasonOtherOrganization            iam.Reason = "other_organization"              // a principal from elsewhere
	ReasonNotFound                     iam.Reason = "not_found"                       // no such entity or project
	ReasonTeamScope                    iam.Reason = "team_scope"                      // a service account outside its team (SA-21)
	ReasonTeamProject                  iam.Reason = "team_project"                    // only the team may enter (VIS-4)
	ReasonRestrictedProjectNotInvited  iam.Reason = "restricted_project_not_invited"  // VIS-5, TS-4
	ReasonRestrictedRunsStay           iam.Reason = "restricted_runs_stay"            // VIS-10
	ReasonPublicViewOnly               iam.Reason = "public_view_only"                // only the team submits (VIS-3)
	ReasonNotTeamMember                iam.Reason = "not_team_member"                 // for the team alone
	ReasonOrgAdminNotJoined            iam.Reason = "org_admin_not_joined"            // administers, but does not enter before joining
	ReasonPersonalEntity               iam.Reason = "personal_entity"                 // somebody else's own entity
	ReasonPersonalEntityDisabled       iam.Reason = "personal_entity_disabled"        // ENV-8
	ReasonNotATeam                     iam.Reason = "not_a_team"                      // a personal entity has no accounts and nothing to join
	ReasonViewOnly                     iam.Reason = "view_only"                       // View-Only in the team or project (TEAM-4)
	ReasonViewOnlyOrganization         iam.Reason = "view_only_organization"          // organization role viewer (ORG-5)
	ReasonViewOnlySeat                 iam.Reason = "view_only_seat"                  // VIS-17
	ReasonNoSeat                       iam.Reason = "no_seat"                         // VIS-17
	ReasonUnknownRole                  iam.Reason = "unknown_role"                    // a role that does not exist grants nothing
	ReasonProjectAdminRequired         iam.Reason = "project_admin_required"          // owner, project admin or team admin
	ReasonTeamAdminRequired            iam.Reason = "team_admin_required"             // TEAM-2, TEAM-8
	ReasonOrganizationAdminRequired    iam.Reason = "organization_admin_required"     // ORG-3, ORG-12
	ReasonAdminTeamAccessDisabled      iam.Reason = "admin_team_access_disabled"      // ENV-9
	ReasonTeamServiceAccountsDisabled  iam.Reason = "team_service_accounts_disabled"  // ENV-13
	ReasonServiceAccountSelfManagement iam.Reason = "service_account_self_management" // an administrator keeps its keys
	ReasonRestrictedOnlyToTeam         iam.Reason = "restricted_only_to_team"         // what a restricted project can become (VIS-11)
	ReasonPrivateProjects              iam.Reason = "private_projects"                // the team keeps its projects private (VIS-14)
	ReasonPrivateProjectsEnforced      iam.Reason = "private_projects_enforced"       // the organization does, for all teams (PRIV-2)
	ReasonKeyReadOnly                  iam.Reason = "key_read_only"                   // the API key only reads
	ReasonKeyScope                     iam.Reason = "key_scope"                       // outside the entity or project for which the API key is
	ReasonKeyAdministration            iam.Reason = "key_administration"              // would give more than the API key's limits allow
	ReasonUnplaced                     iam.Reason = "unplaced"                        // cannot be tied to a project (design section 3, step 4)
	ReasonUnknownRequest               iam.Reason = "unknown_request"                 // a permission, product or kind of caller that the rules do not know
	ReasonInconsistentFacts            iam.Reason = "inconsistent_facts"              // the project is not of the entity
)
