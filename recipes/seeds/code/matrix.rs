// SPDX-License-Identifier: Apache-2.0
use std::ops::Mul;

#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    rows: usize,
    columns: usize,
    cells: Vec<f64>,
}

impl Matrix {
    pub fn from_rows(rows: &[Vec<f64>]) -> Option<Matrix> {
        let columns = rows.first()?.len();
        if rows.iter().any(|row| row.len() != columns) {
            return None;
        }
        let cells = rows.iter().flatten().copied().collect();
        Some(Matrix { rows: rows.len(), columns, cells })
    }

    pub fn transposed(&self) -> Matrix {
        let mut cells = Vec::with_capacity(self.cells.len());
        for column in 0..self.columns {
            for row in 0..self.rows {
                cells.push(self.cells[row * self.columns + column]);
            }
        }
        Matrix { rows: self.columns, columns: self.rows, cells }
    }
}

impl Mul<f64> for &Matrix {
    type Output = Matrix;

    fn mul(self, factor: f64) -> Matrix {
        let cells = self.cells.iter().map(|cell| cell * factor).collect();
        Matrix { cells, ..self.clone() }
    }
}
