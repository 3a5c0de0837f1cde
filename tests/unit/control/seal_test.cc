// SPDX-License-Identifier: Apache-2.0
// What lies in the store of a secret, and the file that its seal key is in.
#include "control/seal.h"

#include <filesystem>
#include <fstream>
#include <sys/stat.h>

#include <gtest/gtest.h>

#include "control/seal_key_file.h"
#include "tests/support/scratch_folder.h"
#include "tests/unit/control/fake_seal_keys.h"

namespace remora::control {

namespace {

namespace state = ::remora::state::v1;
using core::ErrorKind;
using test::FakeSealKeys;

const std::string kSecret = "0123456789abcdef0123456789abcdeF";

std::string text_of(const Secret& secret) {
    return {reinterpret_cast<const char*>(secret.bytes().data()), secret.bytes().size()};
}

class SealTest : public testing::Test {
  public:
    SealTest() { keys.made = true; }
    state::SealedSecret sealed() { return *seal(keys, "kind:a", bytes_of(kSecret)); }

    FakeSealKeys keys;
};

TEST_F(SealTest, Sealed_opensForItsOwnerAndKey) {
    const state::SealedSecret one = sealed();
    EXPECT_EQ(one.SerializeAsString().find("0123456789"), std::string::npos);
    const auto opened = unseal(keys, "kind:a", one);
    ASSERT_TRUE(opened) << opened.error().message;
    EXPECT_EQ(text_of(*opened), kSecret);
    EXPECT_NE(sealed().ciphertext(), one.ciphertext()) << "another nonce each time";
}

TEST_F(SealTest, Sealed_ofAnotherOwner_isDamage) {
    const auto opened = unseal(keys, "kind:b", sealed());
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().kind, ErrorKind::DataLoss);
}

TEST_F(SealTest, Sealed_anyBitChanged_isDamage) {
    for (auto field : {&state::SealedSecret::mutable_nonce, &state::SealedSecret::mutable_tag,
                       &state::SealedSecret::mutable_ciphertext}) {
        state::SealedSecret changed = sealed();
        char& one = (*(changed.*field)())[3];
        one = static_cast<char>(one ^ 1);
        EXPECT_FALSE(unseal(keys, "kind:a", changed));
        changed = sealed();
        (changed.*field)()->pop_back();
        EXPECT_FALSE(unseal(keys, "kind:a", changed));
        (changed.*field)()->clear();
        EXPECT_FALSE(unseal(keys, "kind:a", changed));
    }
}

TEST_F(SealTest, OtherSealKey_isNamed) {
    const state::SealedSecret one = sealed();
    keys.key[31] = 't';
    const auto opened = unseal(keys, "kind:a", one);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().kind, ErrorKind::FailedPrecondition);
    // The identifier is bound as well: it cannot be made to fit.
    state::SealedSecret forged = one;
    forged.set_key_id(seal(keys, "kind:a", bytes_of(kSecret))->key_id());
    EXPECT_FALSE(unseal(keys, "kind:a", forged));
}

TEST_F(SealTest, Verifier_knowsItsKeyOnly) {
    const auto one = *make_verifier(keys, bytes_of(kSecret));
    const auto other = *make_verifier(keys, bytes_of(kSecret));
    EXPECT_NE(one.mac(), other.mac()) << "salted";
    EXPECT_TRUE(verifies(one, bytes_of(kSecret)));
    EXPECT_TRUE(verifies(other, bytes_of(kSecret)));
    EXPECT_FALSE(verifies(one, bytes_of(kSecret.substr(1))));
    EXPECT_FALSE(verifies(one, bytes_of(kSecret + kSecret)));
    EXPECT_FALSE(verifies({}, bytes_of(kSecret)));
}

class SealKeyFileTest : public testing::Test {
  public:
    static void write(const std::string& path, std::size_t bytes, mode_t mode) {
        std::ofstream(path, std::ios::binary) << std::string(bytes, 'k');
        ASSERT_EQ(::chmod(path.c_str(), mode), 0);
    }
    [[nodiscard]] std::string at(const std::string& name) const {
        return folder.path() + "/" + name;
    }

    test::ScratchFolder folder;
};

TEST_F(SealKeyFileTest, Place_isTheOptionThenTheCredentialThenTheStates) {
    using Origin = SealKeyPlace::Origin;
    EXPECT_EQ(find_seal_key("/k", folder.path(), "/s").path, "/k");
    EXPECT_EQ(find_seal_key("", folder.path(), "/s").path, "/s/seal-key");
    EXPECT_EQ(find_seal_key("", "", "/s").origin, Origin::Own);
    write(at("remora-seal-key"), 32, 0400);
    EXPECT_EQ(find_seal_key("", folder.path(), "/s").origin, Origin::Credential);
    EXPECT_EQ(find_seal_key("", folder.path(), "/s").path, at("remora-seal-key"));
}

TEST_F(SealKeyFileTest, Own_isMadeAtFirstNeed_privateAndWhole) {
    SealKeyFile file({SealKeyPlace::Origin::Own, at("seal-key")});
    EXPECT_TRUE(file.check());
    EXPECT_FALSE(file.for_opening()) << "never made to open with";
    EXPECT_FALSE(std::filesystem::exists(at("seal-key")));
    std::ofstream(at("seal-key.new")) << "of a life that was killed";
    const auto made = file.for_sealing();
    ASSERT_TRUE(made) << made.error().message;
    struct stat info{};
    ASSERT_EQ(::stat(at("seal-key").c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600U);
    EXPECT_EQ(info.st_size, 32);
    EXPECT_FALSE(std::filesystem::exists(at("seal-key.new")));
    SealKeyFile next({SealKeyPlace::Origin::Own, at("seal-key")});
    EXPECT_EQ(text_of(*next.for_sealing()), text_of(*made));
    EXPECT_EQ(text_of(*next.for_opening()), text_of(*made));
    EXPECT_NE(text_of(*made), std::string(32, '\0'));
}

TEST_F(SealKeyFileTest, Given_isNeverMade) {
    SealKeyFile file({SealKeyPlace::Origin::Option, at("given")});
    EXPECT_FALSE(file.check());
    EXPECT_FALSE(file.for_sealing());
    EXPECT_FALSE(std::filesystem::exists(at("given")));
}

struct BadFile {
    const char* name;
    std::size_t bytes;
    mode_t mode;
    const char* sentence;
};

TEST_F(SealKeyFileTest, Unfit_isRefusedWithWhatWouldBeRight) {
    for (const BadFile& bad :
         {BadFile{"long", 33, 0600, "33 bytes, not 32"}, BadFile{"empty", 0, 0600, "0 bytes"},
          BadFile{"group", 32, 0640, "chmod 600"}, BadFile{"other", 32, 0604, "chmod 600"}}) {
        write(at(bad.name), bad.bytes, bad.mode);
        SealKeyFile file({SealKeyPlace::Origin::Option, at(bad.name)});
        const auto checked = file.check();
        ASSERT_FALSE(checked) << bad.name;
        EXPECT_EQ(checked.error().kind, ErrorKind::FailedPrecondition);
        EXPECT_NE(checked.error().message.find(bad.sentence), std::string::npos)
            << checked.error().message;
        EXPECT_FALSE(file.for_opening());
    }
    SealKeyFile folder_itself({SealKeyPlace::Origin::Option, folder.path()});
    EXPECT_FALSE(folder_itself.check());
    // systemd shows the mask of its access control list as the group's rights.
    SealKeyFile credential({SealKeyPlace::Origin::Credential, at("group")});
    EXPECT_TRUE(credential.check());
}

}  // namespace

}  // namespace remora::control
