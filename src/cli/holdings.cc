// SPDX-License-Identifier: Apache-2.0
#include "cli/holdings.h"

#include <algorithm>
#include <array>
#include <set>
#include <string_view>
#include <utility>

#include <google/protobuf/descriptor.h>

#include "cli/settings.h"
#include "cli/site.h"
#include "core/uuid.h"
#include "remora/v1/qos.pb.h"
#include "remora/v1/remora.pb.h"

namespace remora::cli {

namespace {

constexpr const char* kReference = "volume_name_ref";

/// Null when the kind's resources are on no volume.
const Field* reference_field(const google::protobuf::Descriptor& type) {
    const Field* spec = spec_field(type);
    return (spec == nullptr ? type : *spec->message_type()).FindFieldByName(kReference);
}

/// Lists of volumes that it is made of.
constexpr std::array kReferenceLists{"members", "spares"};

/// The volumes it is on, as its user refers to them.
std::vector<std::string> references_of(const Message& resource) {
    std::vector<std::string> out;
    if (const Field* field = reference_field(*resource.GetDescriptor())) {
        const Field* spec = spec_field(*resource.GetDescriptor());
        const Message& holder =
            spec == nullptr ? resource : resource.GetReflection()->GetMessage(resource, spec);
        out.push_back(holder.GetReflection()->GetString(holder, field));
    }
    for (const char* list : kReferenceLists) {
        const Field* field = resource.GetDescriptor()->FindFieldByName(list);
        const bool words =
            field != nullptr && field->is_repeated() && field->cpp_type() == Field::CPPTYPE_STRING;
        const auto* reflection = resource.GetReflection();
        for (int i = 0; words && i < reflection->FieldSize(resource, field); ++i) {
            out.push_back(reflection->GetRepeatedString(resource, field, i));
        }
    }
    return out;
}

/// One of those that a reference may lead to: what has a volume's counters and is no child.
bool is_local_volume(const Kind& kind) {
    return kind.counters == Counters::Volume && kind.parent.empty();
}

bool has_uuid(const Message& volume, const std::string& text) {
    const Field* field = volume.GetDescriptor()->FindFieldByName("uuid");
    const auto wanted = core::Uuid::parse(text);
    if (field == nullptr || !wanted) {
        return false;
    }
    const auto has = core::Uuid::parse(volume.GetReflection()->GetString(volume, field));
    return has && *has == *wanted;
}

/// The forms that control/references.h lists.
bool leads_to_volume(const std::string& reference, const Item& volume) {
    const std::string id = short_name(volume.name);
    return reference == id || reference == volume.name ||
           reference == std::string(volume.kind->pattern) + "/" + id ||
           has_uuid(*volume.message, reference);
}

/// "arrayn1", or a name within the remote controller's.
bool leads_to_remote(const std::string& reference, const Item& remote) {
    if (reference.starts_with(remote.name + "/")) {
        return true;
    }
    const std::string prefix = short_name(remote.name) + "n";
    const std::string_view rest =
        std::string_view(reference).substr(std::min(prefix.size(), reference.size()));
    return reference.starts_with(prefix) && !rest.empty() &&
           rest.find_first_not_of("0123456789") == std::string_view::npos;
}

bool is_remote(const Kind& kind) {
    return kind.collection == "nvmeRemoteControllers";
}

/// Kinds that are on no volume first, then those that are, then attachments.
std::pair<int, std::size_t> rank_of(const Item& item) {
    const Kind* kind = is_setting(*item.kind) ? find_kind(item.kind->setting_of) : item.kind;
    const auto index = static_cast<std::size_t>(kind - kinds().data());
    const auto* type = item.message->GetDescriptor();
    const bool on_volume =
        reference_field(*type) != nullptr || type->FindFieldByName(kReferenceLists[0]) != nullptr;
    return {item.kind->uuid_is_name ? 2 : on_volume ? 1 : 0, index};
}

/// Depth first: what an item needs goes into `order` before it.
void place(std::size_t index,
           const std::vector<Item>& items,
           std::vector<bool>& placed,
           std::vector<std::size_t>& order) {
    if (placed[index]) {
        return;
    }
    placed[index] = true;
    for (std::size_t other = 0; other < items.size(); ++other) {
        if (!placed[other] && needs(items[index], items[other])) {
            place(other, items, placed, order);
        }
    }
    order.push_back(index);
}

}  // namespace

Holdings::Holdings(std::vector<Held> all, std::vector<Held> settings)
    : all_(std::move(all)), settings_(std::move(settings)) {
    mark_attachments();
}

void Holdings::mark_attachments() {
    std::set<std::string> made;
    for (const Held& held : all_) {
        if (const auto* attachment = dynamic_cast<const v1::Attachment*>(held.message.get())) {
            made.insert(attachment->virtio_blk());
            const std::string& controller = attachment->nvme_controller();
            made.insert(controller.substr(0, controller.find("/nvmeControllers/")));
            made.insert(attachment->remote_controller());
        }
    }
    made.erase("");
    for (Held& held : all_) {
        const bool other_volume = held.kind->collection == "volumes" && is_local_volume(*held.kind);
        const std::string parent =
            held.name.substr(0, held.name.find('/', held.name.find('/') + 1));
        held.of_attachment = !other_volume && (made.contains(held.name) || made.contains(parent));
    }
    for (Held& setting : settings_) {
        setting.of_attachment = made.contains(setting.name);
    }
}

const Held* Holdings::find(const Kind& kind, const std::string& name) const {
    const std::vector<Held>& among = is_setting(kind) ? settings_ : all_;
    const auto found = std::ranges::find_if(
        among, [&](const Held& held) { return held.kind == &kind && held.name == name; });
    return found == among.end() ? nullptr : &*found;
}

Holdings ask_holdings(const Session& session, const std::vector<const Kind*>& settings) {
    Client client(session);
    std::vector<Held> all;
    for (const Kind& kind : kinds()) {
        if (!can_create(kind)) {
            continue;
        }
        try {
            for (MessagePtr& message : list_resources(client, kind, "")) {
                std::string name = name_of(*message);
                all.push_back({&kind, std::move(name), std::move(message)});
            }
        } catch (const Refused& refused) {
            if (refused.code() != grpc::StatusCode::UNIMPLEMENTED) {
                throw;
            }
        }
    }
    std::vector<Held> set;
    for (const Kind* kind : settings) {
        std::vector<std::string> names;
        for (const Held& held : all) {
            if (held.kind->name == kind->setting_of) {
                names.push_back(held.name);
            }
        }
        for (Setting& setting : ask_settings(client, *kind, names)) {
            set.push_back({kind, std::move(setting.name), std::move(setting.message)});
        }
    }
    return Holdings(std::move(all), std::move(set));
}

bool needs(const Item& user, const Item& used) {
    if (user.kind == used.kind && user.name == used.name) {
        return false;
    }
    if (!user.kind->parent.empty() && used.kind->collection == user.kind->parent &&
        user.name.starts_with(used.name + "/")) {
        return true;
    }
    if (is_setting(*user.kind)) {
        return used.kind->name == user.kind->setting_of && used.name == user.name;
    }
    if (used.kind->name == "capacity" && user.kind->has_minimum != nullptr) {
        return user.kind->has_minimum(*user.message);  // whichever it stands on
    }
    if (const auto* capacity = dynamic_cast<const v1::Capacity*>(user.message)) {
        return is_remote(*used.kind) && capacity->remote_controller() == used.name;
    }
    return std::ranges::any_of(references_of(*user.message), [&used](const std::string& reference) {
        return is_local_volume(*used.kind)
                   ? leads_to_volume(reference, used)
                   : is_remote(*used.kind) && leads_to_remote(reference, used);
    });
}

std::vector<std::size_t> creation_order(const std::vector<Item>& items) {
    std::vector<std::size_t> by_rank(items.size());
    for (std::size_t i = 0; i < items.size(); ++i) {
        by_rank[i] = i;
    }
    std::ranges::sort(by_rank, {}, [&](std::size_t i) { return std::pair(rank_of(items[i]), i); });
    std::vector<bool> placed(items.size(), false);
    std::vector<std::size_t> order;
    for (const std::size_t index : by_rank) {
        place(index, items, placed, order);
    }
    return order;
}

bool same_volume(const std::string& one, const std::string& other, const std::vector<Item>& items) {
    return std::ranges::any_of(items, [&](const Item& item) {
        return is_local_volume(*item.kind) && leads_to_volume(one, item) &&
               leads_to_volume(other, item);
    });
}

}  // namespace remora::cli
