package queries

// What tests outside of the package measure with.
const (
	StandInDeadline = standInDeadline
	ReaskAfter      = reaskAfter
	ReviewEvery     = reviewEvery
)
