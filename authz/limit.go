package authz

import "github.com/wandb-gateway/wandb-gateway/internal/iam"

// limit takes from an allowed decision what role and visibility cannot give: what an organization
// role or a seat holds back (ORG-5, VIS-17), and what the deployment has switched off (ENV-8).
// Denied decisions keep their reason: the nearest cause is the one to mend first.
func limit(q Request, f *Facts, b bond, d Decision) Decision {
	if !d.Allowed() {
		return d
	}
	reading := q.Permission == ProjectRead
	if !reading && f.organizationViewer() {
		return deny(ReasonViewOnlyOrganization)
	}
	switch f.seat(q.Product) {
	case iam.SeatFull:
	case iam.SeatViewer:
		if !reading {
			return deny(ReasonViewOnlySeat)
		}
	default:
		return deny(ReasonNoSeat)
	}
	if !reading && b.personal && f.Settings.DisablePersonalEntity {
		return deny(ReasonPersonalEntityDisabled) // reading stays (ENV-22)
	}
	return d
}

// seat returns the seat that limits the caller in a product. Service accounts use none (SA-6), and
// seats are an organization's own (SEAT-3), so people from elsewhere are not limited by theirs.
func (f *Facts) seat(product Product) iam.Seat {
	if !f.Principal.IsUser() || !f.ownOrganization() {
		return iam.SeatFull
	}
	switch product {
	case Models:
		return f.Principal.ModelsSeat
	case Weave:
		return f.Principal.WeaveSeat
	default:
		return iam.SeatNone
	}
}
