package archive

import "fmt"

// TableName is the name of a table by its number, for people: what a number
// stands for never changes.
func TableName(id int) string {
	switch id {
	case 1:
		return "KVS"
	case 2:
		return "Nodes"
	case 3:
		return "Services"
	case 4:
		return "Checks"
	case 5:
		return "Coordinates"
	case 6:
		return "ServiceNames"
	case 7:
		return "ServiceTallies"
	case 8:
		return "Sessions"
	case 9:
		return "StateTime"
	case 10:
		return "LockDelays"
	case 11:
		return "PreparedQueries"
	case 12:
		return "ACLTokens"
	case 13:
		return "ACLPolicies"
	case 14:
		return "ACLRoles"
	case 15:
		return "ACLAuthMethods"
	case 16:
		return "ACLBindingRules"
	case 17:
		return "ACLStart"
	}
	return fmt.Sprintf("Table%d", id)
}
