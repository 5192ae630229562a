//! Uploads with lost answers, whose files are swept, and claims without an answer.

use super::*;

#[test]
fn an_upload_with_a_lost_answer_is_made_again_and_its_orphan_swept() {
    let mut world = World::new(1);
    world.granted();
    assert!(matches!(world.op(), Op::Upload { .. }));
    world.did(Did::Uploaded(Err(trouble(TroubleKind::Ambiguous, true))));
    world.uploaded("file-1");
    assert_eq!(world.op(), Op::Create { file: "file-1".into() });
    let Op::Sweep { name, keep, .. } = world.op() else { panic!("swept") };
    assert!(name.starts_with("llmp-") && keep == ["file-1"]);
}

#[test]
fn a_sweep_never_meets_an_upload_whose_file_it_cannot_know() {
    let mut world = World::new(1);
    world.granted();
    assert!(matches!(world.op(), Op::Upload { .. }));
    world.did(Did::Uploaded(Err(trouble(TroubleKind::Ambiguous, true))));
    assert!(matches!(world.op(), Op::Upload { .. }));
    assert_eq!(
        world.next_op(Duration::from_secs(120)),
        None,
        "no sweep while the second upload is on its way"
    );
    world.did(Did::Uploaded(Err(trouble(TroubleKind::Ambiguous, true))));
    let Op::Sweep { keep, .. } = world.op() else { panic!("swept between uploads") };
    assert!(keep.is_empty());
    assert_eq!(world.next_op(Duration::from_secs(120)), None, "no upload while the sweep is on its way");
    world.did(Did::Swept(Ok(1)));
    assert!(matches!(world.op(), Op::Upload { .. }));
}

#[test]
fn a_live_ingress_that_is_slow_is_not_left_out() {
    let mut world = World::new(1);
    let key = wire::BatchKey { fingerprint: vec![7; 16].into(), ..Default::default() };
    let part = wire::OfferPart {
        ingress: world.ingress.to_bytes(),
        reply: "r".into(),
        rids: pack_rids(&world.rids),
    };
    let offer = wire::Offer { bid: world.bid.to_bytes(), key: Some(key), parts: vec![part], bytes: 10 };
    world.give(Input::Offer(offer, "reply".into()));
    assert_eq!(world.next_op(Duration::from_secs(60)), None);
    assert!(world.sent.len() > 10, "it is asked again and again: {}", world.sent.len());
    assert!(!world.core.batches.is_empty());
}
