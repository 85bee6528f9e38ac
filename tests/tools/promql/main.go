// Promql tells which series PromQL expressions select.
//
//	a JSON list of expressions on the standard input; on the output a list of their selectors, each an object
//	of the labels that it compares for equality, __name__ among them
package main

import (
	"encoding/json"
	"log"
	"os"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

func main() {
	log.SetFlags(0)
	var expressions []string
	if err := json.NewDecoder(os.Stdin).Decode(&expressions); err != nil {
		log.Fatal(err)
	}
	selectors := []map[string]string{}
	for _, text := range expressions {
		expression, err := parser.NewParser(parser.Options{}).ParseExpr(text)
		if err != nil {
			log.Fatalf("%s: %s", text, err)
		}
		for _, matchers := range parser.ExtractSelectors(expression) {
			selector := map[string]string{}
			for _, matcher := range matchers {
				if matcher.Type == labels.MatchEqual {
					selector[matcher.Name] = matcher.Value
				}
			}
			selectors = append(selectors, selector)
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(selectors); err != nil {
		log.Fatal(err)
	}
}
