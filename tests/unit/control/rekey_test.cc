// SPDX-License-Identifier: Apache-2.0
// The change of an encrypted volume's key, as the control plane keeps it: announced, going on over
// restarts, ended, refused.
#include "control/watch.h"
#include "tests/unit/control/encryption_fixture.h"

namespace remora::test {

namespace {

using services::crypto::RekeyPoint;

class RekeyTest : public EncryptionTest {
  public:
    static constexpr const char* kVolume = "encryptedVolumes/e0";

    void keep(RekeyPoint point) {
        run([&]() -> Task<> {
            EXPECT_TRUE(co_await node->rekey_keeper->keep_rekey(kVolume, point));
        });
    }
    void finish() {
        run([&]() -> Task<> {
            EXPECT_TRUE(co_await node->rekey_keeper->finish_rekey(kVolume));
            node->encrypted.at(kVolume).rekey.reset();
        });
    }
    [[nodiscard]] static std::string text_of(const services::crypto::XtsKey& key) {
        return {reinterpret_cast<const char*>(key.bytes().data()), key.bytes().size()};
    }
};

TEST_F(RekeyTest, Rekey_beginsAndTellsHowFarItIs) {
    ASSERT_TRUE(create("e0", encrypted("m0")));
    const auto begun = rekey("volumes/e0", key_of('b'));
    ASSERT_TRUE(begun) << begun.error().message;
    EXPECT_EQ(begun->work().kind(), api::BackgroundWork::KIND_REKEY);
    EXPECT_EQ(begun->work().total_bytes(), 8U * 512);
    const auto& spec = *node->encrypted.at(kVolume).rekey;
    EXPECT_EQ(text_of(*spec.next), key_of('b'));
    EXPECT_EQ(spec.bytes_per_second, 7U << 20U);
    EXPECT_FALSE(stored_shows_key());

    EXPECT_TRUE(rekey("encryptedVolumes/e0", key_of('b'))) << "the same again";
    EXPECT_KIND(rekey("volumes/e0", key_of('c')), FailedPrecondition);
    EXPECT_TRUE(create("e0", encrypted("m0"))) << "either key is its own";
    EXPECT_TRUE(create("e0", encrypted("m0", key_of('b'))));
    EXPECT_KIND(create("e0", encrypted("m0", key_of('c'))), AlreadyExists);
}

TEST_F(RekeyTest, Restart_goesOnWhereItWas) {
    ASSERT_TRUE(create("e0", encrypted("m0")));
    ASSERT_TRUE(rekey("volumes/e0", key_of('b')));
    const RekeyPoint point{.position = 3, .block_count = 2, .marks = {16, std::byte{7}}};
    keep(point);
    restart_plane();
    ASSERT_TRUE(node->encrypted.at(kVolume).rekey);
    const auto& spec = *node->encrypted.at(kVolume).rekey;
    EXPECT_EQ(built_key("e0"), key_of('a'));
    EXPECT_EQ(text_of(*spec.next), key_of('b'));
    EXPECT_EQ(spec.point.position, 3U);
    EXPECT_EQ(spec.point.block_count, 2U);
    EXPECT_EQ(spec.point.marks, point.marks);
    EXPECT_EQ(get_rekey("volumes/e0")->work().done_bytes(), 3U * 512);
}

// Hundreds of pieces a second are kept: a client that watches would fall behind.
TEST_F(RekeyTest, Progress_isNoChangeThatWatchersAreToldOf) {
    ASSERT_TRUE(create("e0", encrypted("m0")));
    api::WatchResourcesRequest request;
    request.set_changes_only(true);
    request.add_kinds("opi_api.storage.v1.EncryptedVolume");
    const auto watcher = std::make_shared<control::Watcher>(request);
    run([&]() -> Task<> {
        EXPECT_TRUE(plane->watchers.add(watcher, request));
        co_return;
    });
    const auto changes = [&] {
        std::vector<api::ResourceEvent::Type> types;
        for (const auto& event : watcher->take(core::Nanos{0}).events) {
            if (event->type() != api::ResourceEvent::TYPE_CONDITION) {
                types.push_back(event->type());
            }
        }
        return types;
    };
    (void)changes();  // that it is in step
    ASSERT_TRUE(rekey("volumes/e0", key_of('b')));
    keep({.position = 3, .block_count = 2, .marks = {16, std::byte{7}}});
    keep({.position = 5, .block_count = 0, .marks = {}});
    finish();
    EXPECT_TRUE(changes().empty());
    ASSERT_TRUE(remove("volumes/e0"));
    EXPECT_EQ(changes(), std::vector{api::ResourceEvent::TYPE_DELETED});
}

TEST_F(RekeyTest, End_leavesTheNextKeyAlone) {
    ASSERT_TRUE(create("e0", encrypted("m0")));
    ASSERT_TRUE(rekey("volumes/e0", key_of('b')));
    finish();
    EXPECT_EQ(get_rekey("volumes/e0")->work().kind(), api::BackgroundWork::KIND_UNSPECIFIED);
    EXPECT_TRUE(rekey("volumes/e0", key_of('b'))) << "it has that one";
    EXPECT_FALSE(node->encrypted.at(kVolume).rekey);
    restart_plane();
    EXPECT_EQ(built_key("e0"), key_of('b'));
    EXPECT_KIND(create("e0", encrypted("m0")), AlreadyExists);
    ASSERT_TRUE(remove("volumes/e0"));
    EXPECT_KIND(create("e0", encrypted("m0")), FailedPrecondition) << "the old key is nothing now";
    EXPECT_TRUE(create("e0", encrypted("m0", key_of('b'))));
}

TEST_F(RekeyTest, Delete_meanwhile_isRefused_unlessItCannotGoOn) {
    ASSERT_TRUE(create("e0", encrypted("m0")));
    ASSERT_TRUE(rekey("volumes/e0", key_of('b')));
    EXPECT_KIND(remove("volumes/e0"), FailedPrecondition);
    node->rekey_trouble = "volume 'm0': i/o error";
    EXPECT_EQ(get_rekey("volumes/e0")->reason(), node->rekey_trouble);
    EXPECT_TRUE(remove("volumes/e0"));
    EXPECT_KIND(create("e0", encrypted("m0")), FailedPrecondition) << "it has two keys";
    EXPECT_KIND(create("e0", encrypted("m0", key_of('b'))), FailedPrecondition);
    EXPECT_TRUE(forget("m0"));
    EXPECT_TRUE(create("e0", encrypted("m0")));
}

TEST_F(RekeyTest, NodeRefuses_nothingIsLeft) {
    ASSERT_TRUE(create("e0", encrypted("m0")));
    steps = {};
    steps.fail_at = 2;  // stored, but not begun
    EXPECT_FALSE(rekey("volumes/e0", key_of('b')));
    steps.fail_at = 0;
    EXPECT_EQ(get_rekey("volumes/e0")->work().kind(), api::BackgroundWork::KIND_UNSPECIFIED);
    restart_plane();
    EXPECT_FALSE(node->encrypted.at(kVolume).rekey);
    ASSERT_TRUE(remove("volumes/e0"));
    EXPECT_TRUE(create("e0", encrypted("m0")));
}

TEST_F(RekeyTest, Nonsense_isRefusedWithField) {
    ASSERT_TRUE(create("e0", encrypted("m0")));
    EXPECT_KIND(rekey("volumes/none", key_of('b')), NotFound);
    EXPECT_KIND(get_rekey("volumes/none"), NotFound);
    EXPECT_KIND(rekey("volumes/e0", "short"), InvalidArgument);
    EXPECT_KIND(rekey("volumes/e0", key_of('b').substr(0, 32)), InvalidArgument);
    EXPECT_KIND(rekey("volumes/e0", ""), InvalidArgument);
    EXPECT_KIND(rekey("", key_of('b')), InvalidArgument);
}

TEST_F(RekeyTest, SealKeyLost_needsBothKeysAgain) {
    ASSERT_TRUE(create("e0", encrypted("m0")));
    ASSERT_TRUE(rekey("volumes/e0", key_of('b')));
    seal_keys->key[0] = 'x';
    restart_plane();
    EXPECT_EQ(built_key("e0"), "");
    EXPECT_FALSE(get_rekey("volumes/e0")->reason().empty());
    EXPECT_FALSE(create("e0", encrypted("m0", key_of('b')))) << "the old one is missing yet";
    ASSERT_TRUE(create("e0", encrypted("m0")));
    EXPECT_EQ(built_key("e0"), key_of('a'));
    EXPECT_EQ(text_of(*node->encrypted.at(kVolume).rekey->next), key_of('b'));
}

}  // namespace

}  // namespace remora::test
