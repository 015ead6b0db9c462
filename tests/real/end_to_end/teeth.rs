//! Whether the count of lost requests can see anything: the same controller, told to wait for nothing.
//!
//! `trafficSettleSeconds: 0` takes away the time in which the data plane hears of new destinations before it gets traffic for
//! them, and of old ones' end after it. Two applications are taken over and given back in that way, and some requests must be
//! lost; two others with the default, right before, and none may be. Envoy hears from Contour somewhat late, as in a cluster:
//! on one idle machine it hears at once, and needs no settle time.
//!
//! All four at once were more than the gateway could do on a busy machine: Envoy had no cluster of a Service for seven seconds after the
//! route had named it (`NC cluster_not_found`, with the hasty and the patient alike), which no settle time makes up for.

use std::time::Duration;

use crate::end_to_end::going::{come_and_go, sum};
use crate::harness::Outcome;
use crate::harness::cluster::Cluster;
use crate::harness::shop::{Road, Shop};
use crate::harness::slow_line::SlowLine;
use crate::harness::verdict::Expectation;

/// How late Envoy hears of a change. To load a new destination it hears twice, which is less than the default settle time.
const LATE: Duration = Duration::from_millis(700);

/// Takes two shops over and gives them back, and then two others in haste.
pub async fn bite(cluster: &Cluster, to_envoy: &SlowLine) -> Outcome<Vec<Expectation>> {
    to_envoy.delay(LATE);
    let [proxy, route, patient_proxy, patient_route] = [
        ("hasty-proxy", Road::HttpProxy),
        ("hasty-route", Road::HttpRoute),
        ("patient-proxy", Road::HttpProxy),
        ("patient-route", Road::HttpRoute),
    ]
    .map(|(namespace, road)| Shop::new(cluster, namespace, road));
    let (proxy, route) = (proxy.settling(0), route.settling(0));
    for shop in [&proxy, &route, &patient_proxy, &patient_route] {
        shop.open().await?;
    }
    let come_and_go = |shop| come_and_go(cluster, shop);
    let (patient_proxy, patient_route) = tokio::join!(come_and_go(&patient_proxy), come_and_go(&patient_route));
    let (proxy, route) = tokio::join!(come_and_go(&proxy), come_and_go(&route));
    to_envoy.delay(Duration::ZERO);
    let late = format!("Where Envoy hears {} ms late", LATE.as_millis());
    let [hasty, patient] = [sum(proxy?, route?), sum(patient_proxy?, patient_route?)];
    Ok(vec![
        Expectation::new(
            format!("{late}, no request is lost ({} of {})", patient.0, patient.1),
            patient.0 == 0 && patient.1 > 0,
        ),
        Expectation::new(
            format!(
                "{late}, settle times of zero lose requests ({} of {})",
                hasty.0, hasty.1
            ),
            hasty.0 > 0,
        ),
    ])
}
