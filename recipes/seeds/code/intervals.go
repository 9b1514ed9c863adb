// SPDX-License-Identifier: Apache-2.0

// Package intervals keeps opening hours and tells when a shop is open.
package intervals

import "sort"

// Interval is a half-open stretch of minutes since midnight.
type Interval struct {
	From, To int
}

// Merge joins intervals that touch or overlap, in order.
func Merge(all []Interval) []Interval {
	sorted := append([]Interval(nil), all...)
	sort.Slice(sorted, func(i, j int) bool { return sorted[i].From < sorted[j].From })
	var merged []Interval
	for _, next := range sorted {
		last := len(merged) - 1
		if last >= 0 && next.From <= merged[last].To {
			if next.To > merged[last].To {
				merged[last].To = next.To
			}
			continue
		}
		merged = append(merged, next)
	}
	return merged
}

// Gaps returns the stretches between the merged intervals.
func Gaps(all []Interval) []Interval {
	merged := Merge(all)
	var gaps []Interval
	for i := 1; i < len(merged); i++ {
		gaps = append(gaps, Interval{merged[i-1].To, merged[i].From})
	}
	return gaps
}
