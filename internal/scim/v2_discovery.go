package scim

import (
	"net/http"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/scim/filter"
	"github.com/wandb-gateway/wandb-gateway/internal/scim/schema"
)

// Discovery says what there is (RFC 7643 sections 5 to 7, RFC 7644 section 4).

const (
	configSchema       = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"
	resourceTypeSchema = "urn:ietf:params:scim:schemas:core:2.0:ResourceType"
	schemaSchema       = "urn:ietf:params:scim:schemas:core:2.0:Schema"
)

var resourceTypes = []*schema.ResourceType{userType, groupType}

type object = map[string]any

// discover answers for ServiceProviderConfig, ResourceTypes and Schemas.
func (v V2) discover(q *request) (*response, error) {
	var all []any
	switch q.path[0] {
	case "ServiceProviderConfig":
		if len(q.path) > 1 {
			return nil, nothingHere()
		}
	case "ResourceTypes":
		for _, t := range resourceTypes {
			all = append(all, describeType(t, q.base))
		}
	case "Schemas":
		for _, t := range resourceTypes {
			for _, s := range append([]*schema.Schema{t.Core}, t.Extensions...) {
				all = append(all, describeSchema(s, q.base))
			}
		}
	default:
		return nil, nothingHere()
	}
	if q.method != http.MethodGet && q.method != http.MethodHead {
		return nil, notAllowed(q.method)
	}
	if q.query.Has("filter") { // section 4
		return nil, &iam.Error{Kind: iam.KindDenied, Reason: filter.ReasonInvalidFilter, Message: "what the service offers cannot be filtered"}
	}
	switch {
	case all == nil:
		return &response{status: http.StatusOK, body: config(q.base)}, nil
	case len(q.path) == 1:
		return &response{status: http.StatusOK, body: v2List{Schemas: [1]string{listSchema}, TotalResults: len(all), StartIndex: 1, ItemsPerPage: len(all), Resources: all}}, nil
	}
	for _, one := range all {
		if id, _ := one.(object)["id"].(string); strings.EqualFold(id, q.path[1]) {
			return &response{status: http.StatusOK, body: one}, nil
		}
	}
	return nil, iam.NotFoundf("there is no schema or resource type of this name")
}

func config(base string) object {
	return object{
		"schemas": []string{configSchema},
		"patch":   object{"supported": true},
		"bulk":    object{"supported": true, "maxOperations": maxBulk, "maxPayloadSize": maxBodyBytes},
		"filter":  object{"supported": true, "maxResults": maxPage},
		"sort":    object{"supported": true}, "etag": object{"supported": true},
		"changePassword": object{"supported": false},
		"authenticationSchemes": []object{
			{"type": "oauthbearertoken", "name": "API key as Bearer value", "primary": true, "specUri": "https://www.rfc-editor.org/info/rfc6750",
				"description": "Authorization: Bearer with the API key of an organization admin or of a service account of the organization"},
			{"type": "httpbasic", "name": "API key as Basic password", "specUri": "https://www.rfc-editor.org/info/rfc7617",
				"description": "Authorization: Basic with that API key as password; the user name does not count"},
		},
		"meta": object{"resourceType": "ServiceProviderConfig", "location": base + "/ServiceProviderConfig"},
	}
}

func describeType(t *schema.ResourceType, base string) object {
	extensions := make([]object, len(t.Extensions))
	for i, e := range t.Extensions {
		extensions[i] = object{"schema": e.ID, "required": e.Required}
	}
	o := object{
		"schemas": []string{resourceTypeSchema}, "id": t.Name, "name": t.Name, "endpoint": t.Endpoint, "description": t.Description,
		"schema": t.Core.ID, "meta": object{"resourceType": "ResourceType", "location": base + "/ResourceTypes/" + t.Name},
	}
	if len(extensions) > 0 {
		o["schemaExtensions"] = extensions
	}
	return o
}

func describeSchema(s *schema.Schema, base string) object {
	return object{
		"schemas": []string{schemaSchema}, "id": s.ID, "name": s.Name, "description": s.Description, "attributes": s.Attributes,
		"meta": object{"resourceType": "Schema", "location": base + "/Schemas/" + s.ID},
	}
}
