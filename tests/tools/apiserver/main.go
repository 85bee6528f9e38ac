// Apiserver admits objects the way the API server does by the definition of their kind: unknown fields,
// defaults, the schema, and the rules in CEL.
//
//	{"definition": CUSTOMRESOURCEDEFINITION, "objects": [OBJECT, ...]} on the standard input; on the output one
//	line for each: {"object": OBJECT} with its defaults, or {"refusal": TEXT}
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
)

func main() {
	log.SetFlags(0)
	var input struct {
		Definition apiextensionsv1.CustomResourceDefinition `json:"definition"`
		Objects    []*unstructured.Unstructured             `json:"objects"`
	}
	if err := json.NewDecoder(os.Stdin).Decode(&input); err != nil {
		log.Fatal(err)
	}
	answers := json.NewEncoder(os.Stdout)
	admissions := map[string]*admission{}
	for _, object := range input.Objects {
		version := object.GroupVersionKind().Version
		if admissions[version] == nil {
			admission, err := newAdmission(&input.Definition, version)
			if err != nil {
				log.Fatal(err)
			}
			admissions[version] = admission
		}
		answer := map[string]any{"object": object.Object}
		if err := admissions[version].admit(object.Object); err != nil {
			answer = map[string]any{"refusal": err.Error()}
		}
		if err := answers.Encode(answer); err != nil {
			log.Fatal(err)
		}
	}
}

// admission is what a version of a definition says.
type admission struct {
	structural *schema.Structural
	validator  validation.SchemaValidator
	rules      *cel.Validator
}

func newAdmission(definition *apiextensionsv1.CustomResourceDefinition, version string) (*admission, error) {
	var properties apiextensions.JSONSchemaProps
	for _, candidate := range definition.Spec.Versions {
		if candidate.Name != version {
			continue
		}
		err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(
			candidate.Schema.OpenAPIV3Schema, &properties, nil)
		if err != nil {
			return nil, err
		}
	}
	structural, err := schema.NewStructural(&properties)
	if err != nil {
		return nil, err
	}
	validator, _, err := validation.NewSchemaValidator(&properties)
	if err != nil {
		return nil, err
	}
	rules := cel.NewValidator(structural, true, celconfig.PerCallLimit)
	return &admission{structural, validator, rules}, nil
}

func (admission *admission) admit(object map[string]any) error {
	unknown := pruning.PruneWithOptions(object, admission.structural, true,
		schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	if len(unknown) > 0 {
		return fmt.Errorf("unknown fields: %v", unknown)
	}
	defaulting.PruneNonNullableNullsWithoutDefaults(object, admission.structural)
	defaulting.Default(object, admission.structural)
	if errs := validation.ValidateCustomResource(nil, object, admission.validator); len(errs) > 0 {
		return errs.ToAggregate()
	}
	errs, _ := admission.rules.Validate(context.Background(), nil, admission.structural, object, nil,
		celconfig.RuntimeCELCostBudget)
	return errs.ToAggregate()
}
