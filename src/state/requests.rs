//! Answers of recent transactions, so that a repeat gets the first answer and is not done twice.

use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use crate::rows::FORMAT;
use crate::{Committed, Error, Refusal, RequestId, Row, Table, Write, command};

/// How many answers are kept: ten seconds of the highest rate we aim at, longer than any retry lasts.
const ANSWERS_MAX: usize = 65_536;
/// How long an answer is kept, in milliseconds; a request that is repeated later than this is long past its deadline.
const AGE_MS_MAX: u64 = 120_000;

/// A transaction's fate.
pub type Answer = Result<Committed, Refusal>;

#[derive(Clone, Serialize, Deserialize)]
struct Answered {
    id: RequestId,
    at_ms: u64,
    answer: Answer,
}

#[derive(Clone, Default)]
pub(crate) struct Requests {
    by_sequence: OrdMap<u64, Answered>,
    sequences: OrdMap<RequestId, u64>,
}

impl Requests {
    /// The answer this request has already got.
    pub fn answer(&self, id: RequestId) -> Option<&Answer> {
        let sequence = self.sequences.get(&id)?;
        self.by_sequence.get(sequence).map(|answered| &answered.answer)
    }

    /// Keeps an answer and forgets those beyond the bounds.
    pub fn record(&mut self, id: RequestId, at_ms: u64, answer: &Answer) -> Result<Vec<Write>, Error> {
        let sequence = self.by_sequence.get_max().map_or(0, |(sequence, _)| sequence + 1);
        let answered = Answered { id, at_ms, answer: answer.clone() };
        let value = command::encode(FORMAT, "a request row", &answered)?;
        let mut writes = vec![Write::Put(Row { table: Table::Requests, key: row_key(sequence), value })];
        self.by_sequence.insert(sequence, answered);
        self.sequences.insert(id, sequence);
        while let Some((oldest, answered)) = self.by_sequence.get_min() {
            let (oldest, id) = (*oldest, answered.id);
            let old = answered.at_ms.saturating_add(AGE_MS_MAX) < at_ms;
            if oldest == sequence || !(old || self.by_sequence.len() > ANSWERS_MAX) {
                break;
            }
            self.by_sequence.remove(&oldest);
            self.sequences.remove(&id);
            writes.push(Write::Delete { table: Table::Requests, key: row_key(oldest) });
        }
        Ok(writes)
    }

    pub fn rows(&self) -> impl Iterator<Item = Result<Row, Error>> + '_ {
        self.by_sequence.iter().map(|(sequence, answered)| {
            command::encode(FORMAT, "a request row", answered).map(|value| Row {
                table: Table::Requests,
                key: row_key(*sequence),
                value,
            })
        })
    }

    pub fn load(rows: Vec<(Vec<u8>, Vec<u8>)>) -> Result<Self, Error> {
        let mut requests = Self::default();
        for (key, value) in rows {
            let sequence = key
                .as_slice()
                .try_into()
                .map(u64::from_be_bytes)
                .map_err(|_| Error::Damaged { what: "a request row", reason: "its key is short".into() })?;
            let answered: Answered = command::decode(FORMAT, "a request row", &value)?;
            requests.sequences.insert(answered.id, sequence);
            requests.by_sequence.insert(sequence, answered);
        }
        Ok(requests)
    }
}

fn row_key(sequence: u64) -> Vec<u8> {
    sequence.to_be_bytes().to_vec()
}
