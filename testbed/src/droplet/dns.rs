//! Owns the cloud's name server, which knows no name: with none at all, whoever asks for one waits for seconds.

use std::{io, net::SocketAddr};

use tokio::net::UdpSocket;

/// Bytes before the question.
const HEADER: usize = 12;

/// Answers "no such name" until the socket fails or the runtime ends.
pub(super) async fn serve(socket: UdpSocket) {
    let mut query = [0; 512];
    loop {
        let received: io::Result<(usize, SocketAddr)> = socket.recv_from(&mut query).await;
        let Ok((length, asker)) = received else { return };
        if let Some(answer) = no_such_name(&query[..length]) {
            // An answer that is lost is asked for again.
            let _ = socket.send_to(&answer, asker).await;
        }
    }
}

/// The answer to a query with one question, or nothing to what is none.
fn no_such_name(query: &[u8]) -> Option<Vec<u8>> {
    let mut end = HEADER;
    loop {
        let label = usize::from(*query.get(end)?);
        end += 1 + label;
        if label == 0 {
            break;
        }
    }
    // The question's type and class.
    let question = query.get(HEADER..end + 4)?;
    let mut answer = query.get(..2)?.to_vec();
    // A final answer (response, authoritative, recursion available, NXDOMAIN) that repeats the question alone.
    answer.extend([0x85, 0x83, 0, 1, 0, 0, 0, 0, 0, 0]);
    answer.extend(question);
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_answered_with_its_own_question_and_nxdomain() {
        let mut query = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        query.extend(b"\x05redis\x03sim\x00\x00\x01\x00\x01");
        let answer = no_such_name(&query).unwrap();
        assert_eq!(answer[..2], [0xab, 0xcd]);
        assert_eq!(answer[3] & 0x0f, 3, "NXDOMAIN");
        assert_eq!(answer[HEADER..], query[HEADER..]);
    }

    #[test]
    fn what_is_no_query_gets_no_answer() {
        for torn in [&b""[..], b"\x00", &[0; 12], b"\x00\x00\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x20redis"] {
            assert_eq!(no_such_name(torn), None);
        }
    }
}
