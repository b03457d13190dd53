//! Completion is atomic: whatever runs beside it, there is one whole object or none (R8).

use tokio::task::JoinSet;

use super::Upload;
use crate::support::{client::Call, wire::Reply, world::World};

async fn at_once(calls: Vec<Call>) -> Vec<Reply> {
    let mut set = JoinSet::new();
    for (index, call) in calls.into_iter().enumerate() {
        set.spawn(async move { (index, call.send().await) });
    }
    let mut replies = set.join_all().await;
    replies.sort_by_key(|(index, _)| *index);
    replies.into_iter().map(|(_, reply)| reply).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_completions_make_one_object() {
    let world = World::small_parts().await;
    let bart = world.versioned("races").await;
    for round in 0..20 {
        let upload = Upload::begin(&bart, &format!("/races/{round}")).await;
        let tags = [upload.part(1, vec![1; 70_000]).await, upload.part(2, "two").await];
        let call = upload.complete(&[(1, &tags[0]), (2, &tags[1])]);
        let replies = at_once(vec![call; 8]).await;
        let mut versions: Vec<String> =
            replies.into_iter().map(|reply| reply.expect(200).header("x-amz-version-id").unwrap().to_owned()).collect();
        versions.dedup();
        assert_eq!(versions.len(), 1, "all are told of the same version");
        let listed = bart.get(&format!("/races?versions&prefix={round}&key-marker=")).expect(200).await;
        let key = round.to_string();
        assert_eq!(listed.tags("Key").iter().filter(|known| **known == key).count(), 1);
    }
    world.sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn completion_against_abort_gives_the_object_or_nothing() {
    let world = World::small_parts().await;
    let bart = world.bucket("races").await;
    let (mut completed, mut aborted) = (0, 0);
    for round in 0..30 {
        let key = format!("/races/{round}");
        let upload = Upload::begin(&bart, &key).await;
        let body = vec![7; 70_000];
        let tag = upload.part(1, &body).await;
        let replies = at_once(vec![upload.complete(&[(1, &tag)]), upload.abort(), upload.complete(&[(1, &tag)])]).await;
        let statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
        let object = bart.get(&key).send().await;
        match object.status {
            200 => {
                object.body_is(&body);
                completed += 1;
                assert!(statuses[0] == 200 || statuses[2] == 200, "{statuses:?}");
                assert_eq!(statuses[1], 404, "{statuses:?}");
            }
            404 => {
                aborted += 1;
                assert_eq!(statuses, [404, 204, 404]);
            }
            _ => panic!("{object}"),
        }
    }
    assert_eq!(completed + aborted, 30);
    world.drained().await;
    assert_eq!(world.blobs().await.len(), completed, "aborted parts are freed, completed ones kept");
    world.sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_sent_during_completion_never_mixes_in() {
    let world = World::small_parts().await;
    let bart = world.bucket("races").await;
    for round in 0..30 {
        let key = format!("/races/{round}");
        let upload = Upload::begin(&bart, &key).await;
        let (old, new) = (vec![b'o'; 70_000], vec![b'n'; 70_000]);
        let tags = [upload.part(1, &old).await, upload.part(2, &old).await];
        let complete = upload.complete(&[(1, &tags[0]), (2, &tags[1])]);
        let replies = at_once(vec![upload.put(2, &new), complete.clone(), upload.put(1, &new)]).await;
        match replies[1].status {
            200 => drop(bart.get(&key).expect(200).await.body_is([old.clone(), old].concat())),
            400 => {
                assert_eq!(replies[1].tag("Code").as_deref(), Some("InvalidPart"));
                bart.get(&key).refused(404, "NoSuchKey").await;
                upload.abort().expect(204).await;
            }
            _ => panic!("{}", replies[1]),
        }
        for part in [&replies[0], &replies[2]] {
            assert!(matches!(part.status, 200 | 404), "{part}");
        }
    }
    world.drained().await;
    let objects = bart.get("/races").expect(200).await.tags("Key").len();
    let blobs = if world.is_elsewhere() { objects } else { 2 * objects };
    assert_eq!(world.blobs().await.len(), blobs, "late parts are freed");
    world.sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_of_one_number_at_once_leave_one_whole_part() {
    let world = World::small_parts().await;
    let bart = world.bucket("races").await;
    let upload = Upload::begin(&bart, "/races/a").await;
    for round in 0..10 {
        let calls =
            (0..8_u8).map(|writer| upload.put(1, vec![b'a' + writer; 66_000 + usize::from(writer) + round])).collect();
        for reply in at_once(calls).await {
            reply.expect(200);
        }
    }
    let tag = upload.list("").expect(200).await.tag("ETag").unwrap();
    upload.complete(&[(1, &tag)]).expect(200).await;
    let got = bart.get("/races/a").expect(200).await;
    let first = got.body[0];
    assert_eq!(got.body.len(), 66_000 + usize::from(first - b'a') + 9);
    assert!(got.body.iter().all(|byte| *byte == first));
    world.drained().await;
    assert_eq!(world.blobs().await.len(), 1);
}
