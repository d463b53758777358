//! The queries about whose database this is, mounted by `queries`.

use std::collections::BTreeMap;

use diesel::{ExpressionMethods, OptionalExtension, QueryDsl, insert_into};
use diesel_async::RunQueryDsl;
use getaredis_actors::{domain::DeploymentId, ports::StoreError};

use super::{
    super::super::{Owner, failure::Failure, schema::owner},
    Conn, gate, upsert, write_transaction,
};

const DEPLOYMENT: &str = "deployment";
const MASTER_KEY: &str = "master key";

/// Writes down whose it is, if nobody's yet or if it is to be taken over; else sees that it is the same one's.
pub(in super::super::super) async fn claim(conn: &mut Conn, claimant: Owner, take_over: bool) -> Result<(), Failure> {
    write_transaction!(conn, async move |conn| {
        // Of several servers that start at once, one comes first.
        gate(conn).await?;
        let known: BTreeMap<String, String> = owner::table.load::<(String, String)>(conn).await?.into_iter().collect();
        let features = [(DEPLOYMENT, claimant.deployment.to_string()), (MASTER_KEY, claimant.key_fingerprint)];
        for (feature, value) in features {
            match known.get(feature) {
                Some(same) if *same == value => continue,
                Some(other) if !take_over => return Err(refusal(feature, other, &value).into()),
                _ => {}
            }
            let row = (owner::feature.eq(feature), owner::value.eq(&value));
            upsert!(owner::table, owner::feature, row).execute(conn).await?;
        }
        Ok(())
    })
}

/// Sees that it is this deployment's, or nobody's yet; says whether it is this one's. Writes nothing: whose it is the
/// server says that is started on it.
pub(in super::super::super) async fn visit(conn: &mut Conn, deployment: DeploymentId) -> Result<bool, Failure> {
    let known: Option<String> = owner::table.find(DEPLOYMENT).select(owner::value).first(conn).await.optional()?;
    match known {
        Some(other) if other != deployment.as_str() => Err(StoreError::Unavailable(format!(
            "cannot use the database: it belongs to the deployment `{other}`, and fleet.deployment is `{deployment}`; set \
             that back, or set database.url to the database of that deployment's server"
        ))
        .into()),
        known => Ok(known.is_some()),
    }
}

fn refusal(feature: &str, known: &str, claimed: &str) -> StoreError {
    let (difference, remedy) = if feature == DEPLOYMENT {
        let difference = format!("it belongs to the deployment `{known}`, and fleet.deployment is `{claimed}`");
        (difference, "set that back")
    } else {
        let difference = "it belongs to a server with another master key".to_owned();
        (difference, "put that key back (instances.master_key_file)")
    };
    StoreError::Unavailable(format!(
        "cannot use the database: {difference}; {remedy}, or set database.url to a database of its own. To give up all \
         instances that are in it, stop its other servers and start once with `getaredis serve --take-over`"
    ))
}
