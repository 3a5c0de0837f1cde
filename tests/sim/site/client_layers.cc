// SPDX-License-Identifier: Apache-2.0
// Client: volumes that are made of others: arrays whose members come and go under load, volumes
// with checksums, and encrypted ones whose keys change under load.
#include "tests/sim/site/client.h"

namespace remora::sim {

namespace {

namespace opi = opi_api::storage::v1;
namespace api = ::remora::v1;
using control::ControlPlane;
using reactor::Task;

/// The volume's key after `changes` changes: no two are the same.
std::string key_of(std::size_t volume, std::uint64_t changes) {
    core::Prng prng(volume * 1'000'003 + changes);
    std::string key(32, 0);
    std::ranges::generate(key, [&prng] { return static_cast<char>(prng.below(256)); });
    return key;
}

bool is_array(const VolumePlan& plan) {
    return plan.form == Form::Mirror || plan.form == Form::Parity;
}

}  // namespace

std::string Client::reference_of(const VolumePlan& plan) {
    switch (plan.form) {
        case Form::Plain:
            return plan.id;
        case Form::Mirror:
        case Form::Parity:
            return "raidVolumes/" + plan.id;
        case Form::Checked:
            return "integrityVolumes/" + plan.id;
        case Form::Encrypted:
            return "encryptedVolumes/" + plan.id;
    }
    return plan.id;
}

Task<bool> Client::provide_layered(std::size_t index) {
    const VolumePlan& plan = site_.plan().volumes[index];
    if (plan.form == Form::Encrypted && made_.contains(index)) {
        co_return true;  // its key may be another one by now
    }
    for (std::size_t i = 0; i < plan.lowers(); ++i) {
        opi::CreateAioVolumeRequest request;
        request.set_aio_volume_id(plan.lower(i));
        auto& volume = *request.mutable_aio_volume();
        volume.set_filename("/disk/" + plan.lower(i));
        volume.set_block_size(plan.block_size);
        volume.set_blocks_count(static_cast<std::int64_t>(plan.lower_blocks));
        const bool made =
            co_await insist(home_of(plan), &ControlPlane::volumes, &control::Volumes::create_aio,
                            request, "creating " + plan.lower(i));
        if (!made) {
            co_return false;
        }
    }
    if (plan.form == Form::Checked) {
        api::CreateIntegrityVolumeRequest request;
        request.set_integrity_volume_id(plan.id);
        request.mutable_integrity_volume()->set_volume_name_ref(plan.lower(0));
        co_return co_await insist(home_of(plan), &ControlPlane::integrity_volumes,
                                  &control::IntegrityVolumes::create, request,
                                  "creating checksums for " + plan.id);
    }
    if (plan.form == Form::Encrypted) {
        opi::CreateEncryptedVolumeRequest request;
        request.set_encrypted_volume_id(plan.id);
        auto& encrypted = *request.mutable_encrypted_volume();
        encrypted.set_volume_name_ref(plan.lower(0));
        encrypted.set_cipher(opi::ENCRYPTION_TYPE_AES_XTS_128);
        encrypted.set_key(key_of(index, 0));
        co_return co_await insist(home_of(plan), &ControlPlane::encrypted_volumes,
                                  &control::EncryptedVolumes::create, request,
                                  "creating encrypted " + plan.id);
    }
    api::CreateRaidVolumeRequest request;
    request.set_raid_volume_id(plan.id);
    auto& array = *request.mutable_raid_volume();
    array.set_level(plan.form == Form::Mirror ? api::RAID_LEVEL_1 : api::RAID_LEVEL_5);
    array.set_chunk_bytes(VolumePlan::kChunk);
    for (std::size_t i = 0; i < plan.members(); ++i) {
        array.add_members(plan.lower(i));
    }
    co_return co_await insist(home_of(plan), &ControlPlane::raid_volumes,
                              &control::RaidVolumes::create, request, "creating array " + plan.id);
}

/// One volume more than the array has members: the free one takes a member's place again and again.
Task<> Client::run_array(Client* self, std::size_t index) {
    const VolumePlan& plan = self->site_.plan().volumes[index];
    while (!self->settling_) {
        co_await self->rest(8000);
        if (!self->site_.world().faults().strikes(Fault::MemberLoss, 1)) {
            continue;
        }
        api::GetRaidVolumeRequest get;
        get.set_name("volumes/" + plan.id);
        const auto array = co_await self->ask(self->home_of(plan), &ControlPlane::raid_volumes,
                                              &control::RaidVolumes::get, get);
        if (!array || array->has_work()) {
            continue;
        }
        api::ReplaceRaidMemberRequest request;
        request.set_name(get.name());
        const bool whole = array->health() == api::RaidVolume::HEALTH_OPTIMAL;
        auto slot = static_cast<int>(self->prng_.below(plan.members()));
        for (int i = 0; !whole && i < array->member_states_size(); ++i) {
            const bool place = i < static_cast<int>(plan.members());
            if (place && array->member_states(i).state() != api::RaidMember::STATE_ACTIVE) {
                slot = i;
            }
        }
        request.set_member(array->members(slot));
        for (std::size_t i = 0; i < plan.lowers(); ++i) {
            if (std::ranges::find(array->members(), plan.lower(i)) == array->members().end()) {
                request.set_replacement(plan.lower(i));
            }
        }
        // Half of them are lost before: then there is no second copy meanwhile.
        if (whole && self->prng_.below(2) == 0) {
            api::RemoveRaidMemberRequest loss;
            loss.set_name(get.name());
            loss.set_member(request.member());
            (void)co_await self->ask(self->home_of(plan), &ControlPlane::raid_volumes,
                                     &control::RaidVolumes::remove_member, loss);
        }
        (void)co_await self->ask(self->home_of(plan), &ControlPlane::raid_volumes,
                                 &control::RaidVolumes::replace_member, request);
    }
    --self->running_;
}

/// One key after the other, each slowly enough for some load, and a death, in its midst.
Task<> Client::run_rekeys(Client* self, std::size_t index) {
    const VolumePlan& plan = self->site_.plan().volumes[index];
    api::RekeyVolumeRequest request;
    request.set_name("volumes/" + plan.id);
    request.set_background_mbs(1);
    for (std::uint64_t changes = 1; !self->settling_;) {
        co_await self->rest(3000);
        if (!self->made_.contains(index) ||
            !self->site_.world().faults().strikes(Fault::Rekey, 1)) {
            continue;
        }
        // Its answer may be lost, or it is refused for a time; then the same is asked again.
        request.set_key(key_of(index, changes));
        const auto begun = co_await self->ask(self->home_of(plan), &ControlPlane::encrypted_volumes,
                                              &control::EncryptedVolumes::rekey, request);
        changes += begun ? 1 : 0;
    }
    if (!self->made_.contains(index)) {
        --self->running_;
        co_return;
    }
    // All of them end, at the latest when nothing goes wrong any more.
    api::GetRekeyRequest get;
    get.set_name(request.name());
    for (bool done = false; !done;) {
        const auto rekey = co_await self->ask(self->home_of(plan), &ControlPlane::encrypted_volumes,
                                              &control::EncryptedVolumes::get_rekey, get);
        done = rekey && !rekey->has_work();
        if (!done) {
            co_await reactor::sleep_for(std::chrono::milliseconds(200));
        }
    }
    --self->running_;
}

void Client::start_layers() {
    for (std::size_t i = 0; i < site_.plan().volumes.size(); ++i) {
        if (site_.plan().volumes[i].form == Form::Encrypted &&
            site_.world().faults().drawn(Fault::Rekey)) {
            ++running_;
            gate_->spawn(&Client::run_rekeys, this, i);
        }
        if (is_array(site_.plan().volumes[i]) && !site_.plan().volumes[i].local &&
            site_.world().faults().drawn(Fault::MemberLoss)) {
            ++running_;
            gate_->spawn(&Client::run_array, this, i);
        }
    }
}

}  // namespace remora::sim
