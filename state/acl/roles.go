package acl

import (
	"regexp"
	"slices"
	"strings"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/storage"
)

// GetRole returns a role, or none.
var GetRole = op.Read[NamedRequest, Role]{Name: "acl.role", Authorize: reads[NamedRequest], Query: getRole}

// ListRoles returns roles in the order of their names.
var ListRoles = op.Read[RolesRequest, Roles]{Name: "acl.roles", Authorize: reads[RolesRequest], Query: listRoles}

// SetRole makes a role or changes one.
var SetRole = op.Write[SetRoleRequest, Role]{Name: "acl.role-set", Authorize: writes[SetRoleRequest], Prepare: prepareRole, Home: always[SetRoleRequest]}

// DeleteRole removes a role. That there is none is no error.
var DeleteRole = op.Write[NamedRequest, op.Empty]{Name: "acl.role-delete", Authorize: writes[NamedRequest], Home: always[NamedRequest]}

func getRole(r storage.Reader, req *NamedRequest) (*Role, error) {
	role, err := FindRole(r, req.ID, req.Name)
	if err != nil || role == nil {
		return nil, err
	}
	return role, name(r, &role.Grants)
}

func listRoles(r storage.Reader, req *RolesRequest) (*Roles, error) {
	out := Roles{}
	for role, err := range roleByName.Scan(r, nil) {
		if err != nil {
			return nil, err
		}
		if req.Policy != "" && !slices.ContainsFunc(role.Policies, func(l Link) bool { return strings.EqualFold(l.ID, req.Policy) }) {
			continue
		}
		if err := name(r, &role.Grants); err != nil {
			return nil, err
		}
		out = append(out, *role)
	}
	return &out, nil
}

var roleName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

func prepareRole(l op.Leader, r *SetRoleRequest) error {
	role := &r.Role
	role.CreateIndex, role.ModifyIndex, role.Hash = 0, 0, nil
	switch {
	case r.Create && role.ID != "":
		return op.Errorf(op.CodeInvalid, "Cannot specify the Role ID when creating a new role")
	case r.Create:
		role.ID = l.NewID()
	case role.ID == "":
		return op.Errorf(op.CodeInvalid, "Must specify the ID of the role to update")
	}
	role.ID = strings.ToLower(role.ID)
	switch {
	case !matches(roleName, role.Name, maxRoleName):
		return op.Errorf(op.CodeInvalid, "Invalid Role: invalid Name. Only alphanumeric characters, '-' and '_' are allowed, and at most %d", maxRoleName)
	case len(role.Description) > maxDescription:
		return op.Errorf(op.CodeInvalid, "Invalid Role: Description is longer than %d bytes", maxDescription)
	}
	return validGrants("Role", &role.Grants)
}

// ApplySetRole makes or changes the role.
func ApplySetRole(tx *storage.Txn, r *SetRoleRequest) (*Role, error) {
	if err := writable(tx); err != nil {
		return nil, err
	}
	role := r.Role
	old, err := FindRole(tx, role.ID, "")
	if err != nil {
		return nil, err
	}
	named, err := FindRole(tx, "", role.Name)
	if err != nil {
		return nil, err
	}
	switch {
	case r.Create && old != nil:
		return nil, op.Errorf(op.CodeInvalid, "Invalid Role: the ID is in use")
	case !r.Create && old == nil:
		return nil, op.Errorf(op.CodeNotFound, "Cannot find role %s", role.ID)
	case named != nil && (old == nil || named.ID != old.ID):
		return nil, op.Errorf(op.CodeInvalid, "Invalid Role: A Role with Name %q already exists", role.Name)
	}
	if err := resolvePolicies(tx, &role.Grants); err != nil {
		return nil, err
	}
	if err := putRole(tx, old, &role); err != nil {
		return nil, err
	}
	return &role, name(tx, &role.Grants)
}

func putRole(tx *storage.Txn, old, role *Role) error {
	bare := *role
	bare.CreateIndex, bare.ModifyIndex, bare.Hash = 0, 0, nil
	var err error
	if role.Hash, err = hashed(bare.MarshalMsg(nil)); err != nil {
		return err
	}
	role.CreateIndex, role.ModifyIndex = tx.Index(), tx.Index()
	if old != nil {
		role.CreateIndex = old.CreateIndex
	}
	return roles.Replace(tx, idKey(role.ID), old, role)
}

// ApplyDeleteRole removes a role. Who refers to it gets nothing by it from then on.
func ApplyDeleteRole(tx *storage.Txn, r *NamedRequest) (*op.Empty, error) {
	if err := writable(tx); err != nil {
		return nil, err
	}
	_, err := roles.Delete(tx, idKey(r.ID))
	return nil, err
}
