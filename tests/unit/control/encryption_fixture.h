// SPDX-License-Identifier: Apache-2.0
// EncryptionTest: encrypted volumes over fakes, with keys that are looked for in every answer,
// error, log line and stored record.
#pragma once

#include <algorithm>
#include <array>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "core/log.h"
#include "tests/unit/control/plane_fixture.h"

namespace remora::test {

using control::ControlPlane;
using control::EncryptedVolumes;
namespace state = ::remora::state::v1;
using google::protobuf::Empty;

/// 16 bytes that occur in no other text, at each quarter of a key.
inline const std::string kMark = "\x9d\x01KeyOfTheTest\xfe\x7f";

inline std::string key_of(char which, std::size_t bytes = 64) {
    std::string key;
    for (int part = 0; key.size() < bytes; ++part) {
        key += kMark.substr(0, 14) + which + static_cast<char>('0' + part);
    }
    return key;
}

inline std::vector<std::string>& log_lines() {
    static std::vector<std::string> lines;
    return lines;
}

class EncryptionTest : public PlaneFixture {
  public:
    EncryptionTest() {
        EXPECT_TRUE(create_malloc("m0"));
        log_lines().clear();
        core::log::set_sink(
            [](core::log::Level, std::string_view line) { log_lines().emplace_back(line); });
    }
    ~EncryptionTest() override {
        core::log::set_sink(nullptr);
        for (const std::string& line : log_lines()) {
            EXPECT_FALSE(shows_key(line)) << line;
        }
    }

    static bool shows_key(const std::string& text) {
        return text.find(kMark.substr(0, 14)) != std::string::npos ||
               text.find("KeyOfTheTest") != std::string::npos;
    }
    /// No answer and no error shows it.
    template <typename T>
    static Result<T> checked(Result<T> result) {
        if (result) {
            EXPECT_FALSE(shows_key(result->SerializeAsString()));
        } else {
            EXPECT_FALSE(shows_key(result.error().message)) << result.error().message;
        }
        return result;
    }

    static opi::EncryptedVolume encrypted(const std::string& volume,
                                          const std::string& key = key_of('a')) {
        opi::EncryptedVolume out;
        out.set_volume_name_ref(volume);
        out.set_key(key);
        out.set_cipher(key.size() == 32 ? opi::ENCRYPTION_TYPE_AES_XTS_128
                                        : opi::ENCRYPTION_TYPE_AES_XTS_256);
        return out;
    }
    Result<opi::EncryptedVolume> create(const std::string& id, const opi::EncryptedVolume& volume) {
        opi::CreateEncryptedVolumeRequest request;
        request.set_encrypted_volume_id(id);
        *request.mutable_encrypted_volume() = volume;
        return checked(call(&ControlPlane::encrypted_volumes, &EncryptedVolumes::create, request));
    }
    Result<opi::EncryptedVolume> update(const std::string& name,
                                        opi::EncryptedVolume volume,
                                        std::initializer_list<const char*> mask = {}) {
        opi::UpdateEncryptedVolumeRequest request;
        volume.set_name(name);
        *request.mutable_encrypted_volume() = volume;
        for (const char* path : mask) {
            request.mutable_update_mask()->add_paths(path);
        }
        return checked(call(&ControlPlane::encrypted_volumes, &EncryptedVolumes::update, request));
    }
    Result<Empty> remove(const std::string& name, bool missing = false) {
        opi::DeleteEncryptedVolumeRequest request;
        request.set_name(name);
        request.set_allow_missing(missing);
        return checked(call(&ControlPlane::encrypted_volumes, &EncryptedVolumes::remove, request));
    }
    Result<Empty> forget(const std::string& volume) {
        api::ForgetVolumeKeyRequest request;
        request.set_volume_name_ref(volume);
        return call(&ControlPlane::encrypted_volumes, &EncryptedVolumes::forget_key, request);
    }
    Result<api::Rekey> rekey(const std::string& name, const std::string& key) {
        api::RekeyVolumeRequest request;
        request.set_name(name);
        request.set_key(key);
        request.set_background_mbs(7);
        return checked(call(&ControlPlane::encrypted_volumes, &EncryptedVolumes::rekey, request));
    }
    Result<api::Rekey> get_rekey(const std::string& name) {
        api::GetRekeyRequest request;
        request.set_name(name);
        return checked(
            call(&ControlPlane::encrypted_volumes, &EncryptedVolumes::get_rekey, request));
    }
    Result<Empty> delete_malloc(const std::string& name) {
        opi::DeleteMallocVolumeRequest request;
        request.set_name(name);
        return call(&ControlPlane::volumes, &control::Volumes::delete_malloc, request);
    }
    Result<opi::VirtioBlk> create_disk(const std::string& volume, const std::string& id = "disk0") {
        opi::CreateVirtioBlkRequest request;
        request.set_virtio_blk_id(id);
        auto& disk = *request.mutable_virtio_blk();
        disk.mutable_pcie_id()->mutable_port_id()->set_value(0);
        disk.mutable_pcie_id()->mutable_physical_function()->set_value(1);
        disk.mutable_pcie_id()->mutable_virtual_function()->set_value(0);
        disk.set_volume_name_ref(volume);
        return call(&ControlPlane::virtio_blks, &control::VirtioBlks::create, request);
    }
    Result<opi::NvmeNamespace> create_namespace(const std::string& volume) {
        opi::CreateNvmeSubsystemRequest subsystem;
        subsystem.set_nvme_subsystem_id("s0");
        subsystem.mutable_nvme_subsystem()->mutable_spec()->set_nqn(kNqn);
        EXPECT_TRUE(
            call(&ControlPlane::subsystems, &control::Subsystems::create_subsystem, subsystem));
        opi::CreateNvmeNamespaceRequest space;
        space.set_parent("nvmeSubsystems/s0");
        space.mutable_nvme_namespace()->mutable_spec()->set_volume_name_ref(volume);
        return call(&ControlPlane::subsystems, &control::Subsystems::create_namespace, space);
    }
    api::Condition ready_of(const std::string& name) {
        const auto all = checked(call(&ControlPlane::conditions, &control::Conditions::list,
                                      api::ListConditionsRequest()));
        for (const auto& one : all->resources()) {
            if (one.name() == name) {
                return one.conditions(0);
            }
        }
        ADD_FAILURE() << "no condition of " << name;
        return {};
    }
    /// The key that the data plane's volume has; empty when it is not there.
    std::string built_key(const std::string& id) {
        const auto found = node->encrypted.find("encryptedVolumes/" + id);
        if (found == node->encrypted.end()) {
            return "";
        }
        const auto bytes = found->second.key->bytes();
        return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    }
    /// Changes the one encrypted volume in the store, also its name there.
    template <typename Edit>
    void edit_stored(const std::string& name, Edit edit) {
        const auto all = store.load();
        for (const control::StoredObject& object : *all) {
            if (object.kind != control::Kind::EncryptedVolume) {
                continue;
            }
            state::Record record;
            EXPECT_TRUE(record.ParseFromString(object.body));
            edit(record);
            const std::array changes{
                control::Change{control::Change::Action::Erase, object},
                control::Change{control::Change::Action::Put,
                                {object.kind, name, record.SerializeAsString()}}};
            EXPECT_TRUE(store.commit(changes));
        }
    }
    bool stored_shows_key() {
        const auto all = store.load();
        return std::ranges::any_of(*all, [](const auto& one) { return shows_key(one.body); });
    }
};

}  // namespace remora::test
