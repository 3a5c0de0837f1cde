// SPDX-License-Identifier: Apache-2.0
// Keys of encrypted volumes: out of files, to the daemon, and nowhere else.
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "storage/middleend_encryption.pb.h"
#include "tests/unit/cli/site_file.h"

namespace remora::cli {

namespace {

namespace opi = opi_api::storage::v1;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const std::string kKey = "MarkedKey" + std::string(55, '\x01');

/// Volume s0 on disk0, with `more` in its spec.
std::string site_with(const std::string& more) {
    return malloc_of("disk0", "{size: 64M}") +
           "- {kind: encrypted, name: s0, spec: {volume_name_ref: disk0, cipher: aes_xts_256, " +
           more + "}}\n";
}

const opi::EncryptedVolume* made(const FakeStore& store) {
    return store.find<opi::EncryptedVolume>("volumes/s0");
}

}  // namespace

TEST(Create, Encrypted_sends_the_key_of_the_file) {
    const TempFile key(kKey);
    FakeDaemon daemon;

    const Ran ran = run_at(
        daemon, {"create", "encrypted", "s0", "--volume", "disk0", "--key-file", key.path()});

    EXPECT_EQ(ran.code, 0) << ran.err;
    const auto request = daemon.request<opi::CreateEncryptedVolumeRequest>();
    EXPECT_EQ(request.encrypted_volume_id(), "s0");
    EXPECT_EQ(request.encrypted_volume().volume_name_ref(), "disk0");
    EXPECT_EQ(request.encrypted_volume().cipher(), opi::ENCRYPTION_TYPE_AES_XTS_256);
    EXPECT_EQ(request.encrypted_volume().key(), kKey);
    EXPECT_THAT(ran.out + ran.err, Not(HasSubstr("MarkedKey")));
}

TEST(Create, Encrypted_refuses_a_file_that_is_no_key) {
    FakeDaemon daemon;
    const auto create = [&](const std::string& file, const std::string& cipher) {
        const Ran ran = run_at(daemon, {"create", "encrypted", "s0", "--volume", "disk0",
                                        "--cipher", cipher, "--key-file", file});
        EXPECT_EQ(ran.code, 1);
        EXPECT_THAT(ran.out + ran.err, Not(HasSubstr("MarkedKey")));
        return ran.err;
    };
    const TempFile line(kKey + "\n");
    const TempFile whole(kKey);

    EXPECT_THAT(create(line.path(), "aes-xts-256"), HasSubstr("line break"));
    EXPECT_THAT(create(whole.path(), "aes-xts-128"), HasSubstr("has 64 bytes, not 32"));
    EXPECT_THAT(create("/nonexistent/key", "aes-xts-256"), HasSubstr("cannot be read"));
    EXPECT_THAT(daemon.methods(), IsEmpty());
}

TEST(Apply, Encrypted_takes_its_key_from_a_file_beside_the_sites) {
    const TempFile key(kKey);
    FakeStore store;
    const std::string beside = std::filesystem::path(key.path()).filename().string();

    const Ran ran = run_site(store, "apply", site_with("key-file: " + beside));

    EXPECT_EQ(ran.code, 0) << ran.err;
    ASSERT_NE(made(store), nullptr);
    EXPECT_EQ(made(store)->key(), kKey);
    EXPECT_THAT(ran.out + ran.err, Not(HasSubstr("MarkedKey")));
}

// What exists has its key: the file may be elsewhere by then.
TEST(Apply, Encrypted_twice_does_not_read_the_key_again) {
    FakeStore store;
    std::string text;
    {
        const TempFile key(kKey);
        text = site_with("key-file: " + key.path());
        run_site(store, "apply", text);
    }

    const Ran again = run_site(store, "apply", text);
    const Ran anew = run_site(store, "apply", text, {"--replace"});

    EXPECT_EQ(again.code, 0) << again.err;
    EXPECT_THAT(again.out, HasSubstr("nothing to do"));
    EXPECT_EQ(anew.code, 1);
    EXPECT_THAT(anew.err, HasSubstr("cannot be read"));
}

TEST(Apply, Encrypted_without_or_with_two_keys_is_refused) {
    FakeStore store;

    const Ran missing = run_site(
        store, "apply",
        "- {kind: encrypted, name: s0, spec: {volume_name_ref: disk0, cipher: aes_xts_256}}\n");
    const Ran both = run_site(store, "apply", site_with("key: AAAA, key-file: k"));
    const Ran input = run_site(store, "apply", site_with("key-file: '-'"));
    const Ran other = run_site(store, "apply", malloc_of("disk0", "{size: 1M, key-file: k}"));

    EXPECT_THAT(missing.err, HasSubstr("key (or key-file) is needed"));
    EXPECT_THAT(both.err, HasSubstr("key-file and key say the same"));
    EXPECT_THAT(input.err, HasSubstr("path of the file"));
    EXPECT_THAT(other.err, HasSubstr("has no field 'key-file'"));
    EXPECT_EQ(store.size(), 0U);
}

TEST(Export, Encrypted_has_no_key_and_says_what_to_do) {
    const TempFile key(kKey);
    FakeStore store;
    run_site(store, "apply", site_with("key-file: " + key.path()));

    const Ran ran = store.run({"export"});

    EXPECT_THAT(ran.out, Not(HasSubstr("MarkedKey")));
    EXPECT_THAT(ran.out, HasSubstr("key-file: PATH"));
    EXPECT_THAT(ran.out, HasSubstr("kind: encrypted"));
    EXPECT_THAT(ran.out, Not(HasSubstr("key: ")));
}

TEST(Rekey, Sends_the_key_of_the_file) {
    const TempFile key(kKey);
    FakeDaemon daemon;
    opi::EncryptedVolume volume;
    volume.set_name("volumes/e0");
    volume.set_cipher(opi::ENCRYPTION_TYPE_AES_XTS_256);
    daemon.answer("GetEncryptedVolume", volume);

    const Ran ran =
        run_at(daemon, {"rekey", "e0", "--key-file", key.path(), "--background-mbs", "9"});

    EXPECT_EQ(ran.code, 0) << ran.err;
    const auto request = daemon.request<v1::RekeyVolumeRequest>(1);
    EXPECT_EQ(request.name(), "volumes/e0");
    EXPECT_EQ(request.key(), kKey);
    EXPECT_EQ(request.background_mbs(), 9U);
    EXPECT_THAT(ran.out, Not(HasSubstr("MarkedKey")));
}

TEST(Rekey, Waits_until_it_is_done) {
    FakeDaemon daemon;
    v1::Rekey busy;
    busy.set_name("volumes/e0");
    busy.mutable_work()->set_kind(v1::BackgroundWork::KIND_REKEY);
    busy.mutable_work()->set_total_bytes(100);
    v1::Rekey done;
    done.set_name("volumes/e0");
    daemon.answer("GetRekey", busy);
    daemon.answer("GetRekey", busy);
    daemon.answer("GetRekey", done);

    const Ran ran = run_at(daemon, {"rekey", "e0", "--wait"});

    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_EQ(daemon.methods().size(), 3U);
    EXPECT_THAT(ran.out, HasSubstr("has one key"));
}

TEST(ForgetKey, Names_the_volume) {
    FakeDaemon daemon;

    const Ran ran = run_at(daemon, {"forget-key", "--volume", "disk0"});

    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_EQ(daemon.request<v1::ForgetVolumeKeyRequest>().volume_name_ref(), "disk0");
}

}  // namespace remora::cli
