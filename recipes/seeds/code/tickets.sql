-- SPDX-License-Identifier: Apache-2.0
CREATE TABLE tickets (
    id INTEGER PRIMARY KEY,
    opened_at TEXT NOT NULL,
    closed_at TEXT,
    team TEXT NOT NULL,
    priority INTEGER NOT NULL CHECK (priority BETWEEN 1 AND 4)
);

-- How long each team takes, in hours, for tickets closed in the last thirty days.
SELECT
    team,
    COUNT(*) AS closed,
    ROUND(AVG((julianday(closed_at) - julianday(opened_at)) * 24), 1) AS mean_hours,
    MAX((julianday(closed_at) - julianday(opened_at)) * 24) AS longest_hours
FROM tickets
WHERE closed_at >= date('now', '-30 days')
GROUP BY team
HAVING COUNT(*) >= 5
ORDER BY mean_hours;
