// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package html

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// curveWidth and curveHeight are the coordinates of a curve, which is stretched
// to the width of the page. columns is how many different places along the time
// axis it is drawn with at most: more could not be seen.
const (
	curveWidth, curveHeight = 1000, 100
	columns                 = 500
)

// point is a value that holds from x, a share of the axis between 0 and 1, on.
type point struct {
	x float64
	y int32
}

// thin leaves, in each column, the value in force at its begin and the most
// extreme one after that: a peak is never lost. better says whether a is to be
// kept rather than b.
func thin(points []point, better func(a, b int32) bool) []point {
	if len(points) <= columns {
		return points
	}
	var out []point
	column := func(p point) int { return int(p.x * columns) }
	for i := 0; i < len(points); {
		j, best := i, points[i]
		for ; j < len(points) && column(points[j]) == column(points[i]); j++ {
			if better(points[j].y, best.y) {
				best = points[j]
			}
		}
		best.x = points[i].x
		out = append(out, best)
		// The last value of the column holds on beyond it.
		if last := points[j-1]; last.y != best.y {
			out = append(out, last)
		}
		i = j
	}
	return out
}

func higher(a, b int32) bool { return a > b }
func lower(a, b int32) bool  { return a < b }

// line draws points as a line of steps until the end of the axis at until, with
// peak at the top.
func line(points []point, peak int32, until float64) string {
	var b strings.Builder
	for i, p := range points {
		x, y := number(p.x*curveWidth), height(p.y, peak)
		if i == 0 {
			b.WriteString("M" + x + " " + y)
			continue
		}
		b.WriteString("H" + x + "V" + y)
	}
	if len(points) > 0 {
		b.WriteString("H" + number(until*curveWidth))
	}
	return b.String()
}

// area is the line with what is below it.
func area(points []point, peak int32, until float64) string {
	if len(points) == 0 {
		return ""
	}
	return line(points, peak, until) + "V" + number(curveHeight) + "H" + number(points[0].x*curveWidth) + "Z"
}

func height(y, peak int32) string {
	return number(curveHeight * (1 - float64(y)/float64(max(peak, 1))))
}

// interval is when something was the case.
type interval struct{ from, to time.Time }

// count adds up how many of intervals hold at each moment.
func (s scale) count(intervals []interval) (points []point, most int32, mostAt time.Time) {
	type change struct {
		at time.Time
		by int32
	}
	var changes []change
	for _, i := range intervals {
		changes = append(changes, change{i.from, 1}, change{i.to, -1})
	}
	// What ends makes room for what begins at the same moment.
	slices.SortFunc(changes, func(a, b change) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.by, b.by)) })
	points = []point{{0, 0}}
	var now int32
	for _, c := range changes {
		now += c.by
		if now > most {
			most, mostAt = now, c.at
		}
		x := s.percent(s.place(c.at)) / 100
		if last := &points[len(points)-1]; last.x == x {
			last.y = now
		} else {
			points = append(points, point{x, now})
		}
	}
	return points, most, mostAt
}
