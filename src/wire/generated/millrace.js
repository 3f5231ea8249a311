/*eslint-disable block-scoped-var, id-length, no-control-regex, no-magic-numbers, no-mixed-operators, no-prototype-builtins, no-redeclare, no-shadow, no-var, sort-vars, default-case, jsdoc/require-param*/
import $protobuf from "protobufjs/minimal.js";

// Common aliases
const $Reader = $protobuf.Reader, $Writer = $protobuf.Writer, $util = $protobuf.util;
const $Object = $util.global.Object, $undefined = $util.global.undefined, $Error = $util.global.Error, $RangeError = $util.global.RangeError, $Array = $util.global.Array, $TypeError = $util.global.TypeError, $String = $util.global.String, $Number = $util.global.Number, $parseInt = $util.global.parseInt, $BigInt = $util.global.BigInt, $Boolean = $util.global.Boolean;

// Exported root namespace
const $root = $protobuf.roots["millrace_v1"] || ($protobuf.roots["millrace_v1"] = {});

export const millrace = $root.millrace = (() => {

    /**
     * Namespace millrace.
     * @exports millrace
     * @namespace
     */
    const millrace = {};

    millrace.v1 = (function() {

        /**
         * Namespace v1.
         * @memberof millrace
         * @namespace
         */
        const v1 = {};

        v1.EventBatch = (function() {

            /**
             * Properties of an EventBatch.
             * @typedef {Object} millrace.v1.EventBatch.$Properties
             * @property {string|null} [type] EventBatch type
             * @property {string|null} [source] EventBatch source
             * @property {Array.<millrace.v1.Event.$Properties>|null} [events] EventBatch events
             * @property {string|null} [entryId] EventBatch entryId
             * @property {Array.<Uint8Array>} [$unknowns] Unknown fields preserved while decoding when enabled
             */

            /**
             * Properties of an EventBatch.
             * @memberof millrace.v1
             * @interface IEventBatch
             * @augments millrace.v1.EventBatch.$Properties
             * @deprecated Use millrace.v1.EventBatch.$Properties instead.
             */

            /**
             * Shape of an EventBatch.
             * @typedef {millrace.v1.EventBatch.$Properties} millrace.v1.EventBatch.$Shape
             */

            /**
             * Constructs a new EventBatch.
             * @memberof millrace.v1
             * @classdesc Represents an EventBatch.
             * @constructor
             * @param {millrace.v1.EventBatch.$Properties=} [properties] Properties to set
             * @property {Array.<Uint8Array>} [$unknowns] Unknown fields preserved while decoding when enabled
             */
            const EventBatch = function (properties) {
                this.events = [];
                if (properties)
                    for (let keys = $Object.keys(properties), i = 0; i < keys.length; ++i)
                        if (properties[keys[i]] != null && keys[i] !== "__proto__")
                            this[keys[i]] = properties[keys[i]];
            };

            /**
             * EventBatch type.
             * @member {string} type
             * @memberof millrace.v1.EventBatch
             * @instance
             */
            EventBatch.prototype.type = "";

            /**
             * EventBatch source.
             * @member {string} source
             * @memberof millrace.v1.EventBatch
             * @instance
             */
            EventBatch.prototype.source = "";

            /**
             * EventBatch events.
             * @member {Array.<millrace.v1.Event.$Properties>} events
             * @memberof millrace.v1.EventBatch
             * @instance
             */
            EventBatch.prototype.events = $util.emptyArray;

            /**
             * EventBatch entryId.
             * @member {string} entryId
             * @memberof millrace.v1.EventBatch
             * @instance
             */
            EventBatch.prototype.entryId = "";

            /**
             * Creates a new EventBatch instance using the specified properties.
             * @function create
             * @memberof millrace.v1.EventBatch
             * @static
             * @param {millrace.v1.EventBatch.$Properties=} [properties] Properties to set
             * @returns {millrace.v1.EventBatch} EventBatch instance
             * @type {{
             *   (properties: millrace.v1.EventBatch.$Shape): millrace.v1.EventBatch & millrace.v1.EventBatch.$Shape;
             *   (properties?: millrace.v1.EventBatch.$Properties): millrace.v1.EventBatch;
             * }}
             */
            EventBatch.create = function(properties) {
                return new EventBatch(properties);
            };

            /**
             * Encodes the specified EventBatch message. Does not implicitly {@link millrace.v1.EventBatch.verify|verify} messages.
             * @function encode
             * @memberof millrace.v1.EventBatch
             * @static
             * @param {millrace.v1.EventBatch.$Properties} message EventBatch message or plain object to encode
             * @param {$protobuf.Writer} [writer] Writer to encode to
             * @returns {$protobuf.Writer} Writer
             */
            EventBatch.encode = function (message, writer, _depth) {
                if (!writer)
                    writer = $Writer.create();
                if (_depth === $undefined)
                    _depth = 0;
                if (_depth > $util.recursionLimit)
                    throw $Error("max depth exceeded");
                if (message.type != null && $Object.hasOwnProperty.call(message, "type") && message.type !== "")
                    writer.uint32(/* id 1, wireType 2 =*/10).string(message.type);
                if (message.source != null && $Object.hasOwnProperty.call(message, "source") && message.source !== "")
                    writer.uint32(/* id 2, wireType 2 =*/18).string(message.source);
                if (message.events != null && message.events.length)
                    for (let i = 0; i < message.events.length; ++i)
                        $root.millrace.v1.Event.encode(message.events[i], writer.uint32(/* id 3, wireType 2 =*/26).fork(), _depth + 1).ldelim();
                if (message.entryId != null && $Object.hasOwnProperty.call(message, "entryId") && message.entryId !== "")
                    writer.uint32(/* id 4, wireType 2 =*/34).string(message.entryId);
                if (message.$unknowns != null && $Object.hasOwnProperty.call(message, "$unknowns"))
                    for (let i = 0; i < message.$unknowns.length; ++i)
                        writer.raw(message.$unknowns[i]);
                return writer;
            };

            /**
             * Encodes the specified EventBatch message, length delimited. Does not implicitly {@link millrace.v1.EventBatch.verify|verify} messages.
             * @function encodeDelimited
             * @memberof millrace.v1.EventBatch
             * @static
             * @param {millrace.v1.EventBatch.$Properties} message EventBatch message or plain object to encode
             * @param {$protobuf.Writer} [writer] Writer to encode to
             * @returns {$protobuf.Writer} Writer
             */
            EventBatch.encodeDelimited = function(message, writer) {
                return this.encode(message, (writer || $Writer.create()).fork()).ldelim();
            };

            /**
             * Decodes an EventBatch message from the specified reader or buffer.
             * @function decode
             * @memberof millrace.v1.EventBatch
             * @static
             * @param {$protobuf.Reader|Uint8Array} reader Reader or buffer to decode from
             * @param {number} [length] Message length if known beforehand
             * @returns {millrace.v1.EventBatch & millrace.v1.EventBatch.$Shape} EventBatch
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            EventBatch.decode = function (reader, length, _end, _depth, _target) {
                if (!(reader instanceof $Reader))
                    reader = $Reader.create(reader);
                if (_depth === $undefined)
                    _depth = 0;
                if (_depth > $Reader.recursionLimit)
                    throw $Error("max depth exceeded");
                let end, message, value;
                if (length === $undefined)
                    end = reader.len;
                else {
                    end = reader.pos + length;
                    if (end > reader.len)
                        throw $RangeError("index out of range");
                    length = reader.len;
                    reader.len = end;
                }
                message = _target || new $root.millrace.v1.EventBatch();
                while (reader.pos < end) {
                    let start = reader.pos;
                    let tag = reader.tag();
                    if (tag === _end) {
                        _end = $undefined;
                        break;
                    }
                    let wireType = tag & 7;
                    switch (tag >>>= 3) {
                    case 1: {
                            if (wireType !== 2)
                                break;
                            if ((value = reader.stringVerify()).length)
                                message.type = value;
                            else
                                delete message.type;
                            continue;
                        }
                    case 2: {
                            if (wireType !== 2)
                                break;
                            if ((value = reader.stringVerify()).length)
                                message.source = value;
                            else
                                delete message.source;
                            continue;
                        }
                    case 3: {
                            if (wireType !== 2)
                                break;
                            if (!(message.events && message.events.length))
                                message.events = [];
                            message.events.push($root.millrace.v1.Event.decode(reader, reader.size(), $undefined, _depth + 1));
                            continue;
                        }
                    case 4: {
                            if (wireType !== 2)
                                break;
                            if ((value = reader.stringVerify()).length)
                                message.entryId = value;
                            else
                                delete message.entryId;
                            continue;
                        }
                    }
                    reader.skipType(wireType, _depth, tag);
                    if (!reader.discardUnknown) {
                        $util.makeProp(message, "$unknowns", false);
                        (message.$unknowns || (message.$unknowns = [])).push(reader.raw(start, reader.pos));
                    }
                }
                if (length !== $undefined) {
                    if (reader.pos !== end)
                        throw $RangeError("index out of range");
                    reader.len = length;
                }
                if (_end !== $undefined)
                    throw $Error("missing end group");
                return message;
            };

            /**
             * Decodes an EventBatch message from the specified reader or buffer, length delimited.
             * @function decodeDelimited
             * @memberof millrace.v1.EventBatch
             * @static
             * @param {$protobuf.Reader|Uint8Array} reader Reader or buffer to decode from
             * @returns {millrace.v1.EventBatch & millrace.v1.EventBatch.$Shape} EventBatch
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            EventBatch.decodeDelimited = function(reader) {
                if (!(reader instanceof $Reader))
                    reader = new $Reader(reader);
                return this.decode(reader, reader.size());
            };

            /**
             * Verifies an EventBatch message.
             * @function verify
             * @memberof millrace.v1.EventBatch
             * @static
             * @param {Object.<string,*>} message Plain object to verify
             * @returns {string|null} `null` if valid, otherwise the reason why it is not
             */
            EventBatch.verify = function (message, _depth) {
                if (typeof message !== "object" || message === null)
                    return "object expected";
                if (_depth === $undefined)
                    _depth = 0;
                if (_depth > $util.recursionLimit)
                    return "max depth exceeded";
                if (message.type != null && $Object.hasOwnProperty.call(message, "type"))
                    if (!$util.isString(message.type))
                        return "type: string expected";
                if (message.source != null && $Object.hasOwnProperty.call(message, "source"))
                    if (!$util.isString(message.source))
                        return "source: string expected";
                if (message.events != null && $Object.hasOwnProperty.call(message, "events")) {
                    if (!$Array.isArray(message.events))
                        return "events: array expected";
                    for (let i = 0; i < message.events.length; ++i) {
                        let error = $root.millrace.v1.Event.verify(message.events[i], _depth + 1);
                        if (error)
                            return "events." + error;
                    }
                }
                if (message.entryId != null && $Object.hasOwnProperty.call(message, "entryId"))
                    if (!$util.isString(message.entryId))
                        return "entryId: string expected";
                return null;
            };

            /**
             * Creates an EventBatch message from a plain object. Also converts values to their respective internal types.
             * @function fromObject
             * @memberof millrace.v1.EventBatch
             * @static
             * @param {Object.<string,*>} object Plain object
             * @returns {millrace.v1.EventBatch} EventBatch
             */
            EventBatch.fromObject = function (object, _depth) {
                if (object instanceof $root.millrace.v1.EventBatch)
                    return object;
                if (!$util.isObject(object))
                    throw $TypeError(".millrace.v1.EventBatch: object expected");
                if (_depth === $undefined)
                    _depth = 0;
                if (_depth > $util.recursionLimit)
                    throw $Error("max depth exceeded");
                let message = new $root.millrace.v1.EventBatch();
                if (object.type != null)
                    if (typeof object.type !== "string" || object.type.length)
                        message.type = $String(object.type);
                if (object.source != null)
                    if (typeof object.source !== "string" || object.source.length)
                        message.source = $String(object.source);
                if (object.events) {
                    if (!$Array.isArray(object.events))
                        throw $TypeError(".millrace.v1.EventBatch.events: array expected");
                    message.events = $Array(object.events.length);
                    for (let i = 0; i < object.events.length; ++i) {
                        if (!$util.isObject(object.events[i]))
                            throw $TypeError(".millrace.v1.EventBatch.events: object expected");
                        message.events[i] = $root.millrace.v1.Event.fromObject(object.events[i], _depth + 1);
                    }
                }
                if (object.entryId != null)
                    if (typeof object.entryId !== "string" || object.entryId.length)
                        message.entryId = $String(object.entryId);
                return message;
            };

            /**
             * Creates a plain object from an EventBatch message. Also converts values to other types if specified.
             * @function toObject
             * @memberof millrace.v1.EventBatch
             * @static
             * @param {millrace.v1.EventBatch} message EventBatch
             * @param {$protobuf.IConversionOptions} [options] Conversion options
             * @returns {Object.<string,*>} Plain object
             */
            EventBatch.toObject = function (message, options, _depth) {
                if (!options)
                    options = {};
                if (_depth === $undefined)
                    _depth = 0;
                if (_depth > $util.recursionLimit)
                    throw $Error("max depth exceeded");
                let object = {};
                if (options.arrays || options.defaults)
                    object.events = [];
                if (options.defaults) {
                    object.type = "";
                    object.source = "";
                    object.entryId = "";
                }
                if (message.type != null && $Object.hasOwnProperty.call(message, "type"))
                    object.type = message.type;
                if (message.source != null && $Object.hasOwnProperty.call(message, "source"))
                    object.source = message.source;
                if (message.events && message.events.length) {
                    object.events = $Array(message.events.length);
                    for (let j = 0; j < message.events.length; ++j)
                        object.events[j] = $root.millrace.v1.Event.toObject(message.events[j], options, _depth + 1);
                }
                if (message.entryId != null && $Object.hasOwnProperty.call(message, "entryId"))
                    object.entryId = message.entryId;
                return object;
            };

            /**
             * Converts this EventBatch to JSON.
             * @function toJSON
             * @memberof millrace.v1.EventBatch
             * @instance
             * @returns {Object.<string,*>} JSON object
             */
            EventBatch.prototype.toJSON = function() {
                return EventBatch.toObject(this, $protobuf.util.toJSONOptions);
            };

            /**
             * Gets the type url for EventBatch
             * @function getTypeUrl
             * @memberof millrace.v1.EventBatch
             * @static
             * @param {string} [prefix] Custom type url prefix, defaults to `"type.googleapis.com"`
             * @returns {string} The type url
             */
            EventBatch.getTypeUrl = function(prefix) {
                if (prefix === $undefined)
                    prefix = "type.googleapis.com";
                return prefix + "/millrace.v1.EventBatch";
            };

            return EventBatch;
        })();

        v1.Event = (function() {

            /**
             * Properties of an Event.
             * @typedef {Object} millrace.v1.Event.$Properties
             * @property {string|null} [id] Event id
             * @property {string|null} [subject] Event subject
             * @property {Uint8Array|null} [data] Event data
             * @property {number|Long|null} [timeMs] Event timeMs
             * @property {string|null} [source] Event source
             * @property {number|null} [schema] Event schema
             * @property {number|null} [position] Event position
             * @property {string|null} [type] Event type
             * @property {Object.<string,string>|null} [extensions] Event extensions
             * @property {number|null} [timeNanos] Event timeNanos
             * @property {Array.<Uint8Array>} [$unknowns] Unknown fields preserved while decoding when enabled
             */

            /**
             * Properties of an Event.
             * @memberof millrace.v1
             * @interface IEvent
             * @augments millrace.v1.Event.$Properties
             * @deprecated Use millrace.v1.Event.$Properties instead.
             */

            /**
             * Shape of an Event.
             * @typedef {millrace.v1.Event.$Properties} millrace.v1.Event.$Shape
             */

            /**
             * Constructs a new Event.
             * @memberof millrace.v1
             * @classdesc Represents an Event.
             * @constructor
             * @param {millrace.v1.Event.$Properties=} [properties] Properties to set
             * @property {Array.<Uint8Array>} [$unknowns] Unknown fields preserved while decoding when enabled
             */
            const Event = function (properties) {
                this.extensions = {};
                if (properties)
                    for (let keys = $Object.keys(properties), i = 0; i < keys.length; ++i)
                        if (properties[keys[i]] != null && keys[i] !== "__proto__")
                            this[keys[i]] = properties[keys[i]];
            };

            /**
             * Event id.
             * @member {string} id
             * @memberof millrace.v1.Event
             * @instance
             */
            Event.prototype.id = "";

            /**
             * Event subject.
             * @member {string} subject
             * @memberof millrace.v1.Event
             * @instance
             */
            Event.prototype.subject = "";

            /**
             * Event data.
             * @member {Uint8Array} data
             * @memberof millrace.v1.Event
             * @instance
             */
            Event.prototype.data = $util.newBuffer([]);

            /**
             * Event timeMs.
             * @member {number|Long} timeMs
             * @memberof millrace.v1.Event
             * @instance
             */
            Event.prototype.timeMs = $util.Long ? $util.Long.fromBits(0,0,true) : 0;

            /**
             * Event source.
             * @member {string} source
             * @memberof millrace.v1.Event
             * @instance
             */
            Event.prototype.source = "";

            /**
             * Event schema.
             * @member {number} schema
             * @memberof millrace.v1.Event
             * @instance
             */
            Event.prototype.schema = 0;

            /**
             * Event position.
             * @member {number} position
             * @memberof millrace.v1.Event
             * @instance
             */
            Event.prototype.position = 0;

            /**
             * Event type.
             * @member {string} type
             * @memberof millrace.v1.Event
             * @instance
             */
            Event.prototype.type = "";

            /**
             * Event extensions.
             * @member {Object.<string,string>} extensions
             * @memberof millrace.v1.Event
             * @instance
             */
            Event.prototype.extensions = $util.emptyObject;

            /**
             * Event timeNanos.
             * @member {number} timeNanos
             * @memberof millrace.v1.Event
             * @instance
             */
            Event.prototype.timeNanos = 0;

            /**
             * Creates a new Event instance using the specified properties.
             * @function create
             * @memberof millrace.v1.Event
             * @static
             * @param {millrace.v1.Event.$Properties=} [properties] Properties to set
             * @returns {millrace.v1.Event} Event instance
             * @type {{
             *   (properties: millrace.v1.Event.$Shape): millrace.v1.Event & millrace.v1.Event.$Shape;
             *   (properties?: millrace.v1.Event.$Properties): millrace.v1.Event;
             * }}
             */
            Event.create = function(properties) {
                return new Event(properties);
            };

            /**
             * Encodes the specified Event message. Does not implicitly {@link millrace.v1.Event.verify|verify} messages.
             * @function encode
             * @memberof millrace.v1.Event
             * @static
             * @param {millrace.v1.Event.$Properties} message Event message or plain object to encode
             * @param {$protobuf.Writer} [writer] Writer to encode to
             * @returns {$protobuf.Writer} Writer
             */
            Event.encode = function (message, writer, _depth) {
                if (!writer)
                    writer = $Writer.create();
                if (_depth === $undefined)
                    _depth = 0;
                if (_depth > $util.recursionLimit)
                    throw $Error("max depth exceeded");
                if (message.id != null && $Object.hasOwnProperty.call(message, "id") && message.id !== "")
                    writer.uint32(/* id 1, wireType 2 =*/10).string(message.id);
                if (message.subject != null && $Object.hasOwnProperty.call(message, "subject") && message.subject !== "")
                    writer.uint32(/* id 2, wireType 2 =*/18).string(message.subject);
                if (message.data != null && $Object.hasOwnProperty.call(message, "data") && message.data.length)
                    writer.uint32(/* id 3, wireType 2 =*/26).bytes(message.data);
                if (message.timeMs != null && $Object.hasOwnProperty.call(message, "timeMs") && (typeof message.timeMs === "object" ? message.timeMs.low || message.timeMs.high : message.timeMs !== 0))
                    writer.uint32(/* id 4, wireType 0 =*/32).uint64(message.timeMs);
                if (message.source != null && $Object.hasOwnProperty.call(message, "source") && message.source !== "")
                    writer.uint32(/* id 5, wireType 2 =*/42).string(message.source);
                if (message.schema != null && $Object.hasOwnProperty.call(message, "schema") && message.schema !== 0)
                    writer.uint32(/* id 6, wireType 0 =*/48).uint32(message.schema);
                if (message.position != null && $Object.hasOwnProperty.call(message, "position") && message.position !== 0)
                    writer.uint32(/* id 7, wireType 0 =*/56).uint32(message.position);
                if (message.type != null && $Object.hasOwnProperty.call(message, "type") && message.type !== "")
                    writer.uint32(/* id 8, wireType 2 =*/66).string(message.type);
                if (message.extensions != null && $Object.hasOwnProperty.call(message, "extensions"))
                    for (let keys = $Object.keys(message.extensions), i = 0; i < keys.length; ++i)
                        writer.uint32(/* id 9, wireType 2 =*/74).fork().uint32(/* id 1, wireType 2 =*/10).string(keys[i]).uint32(/* id 2, wireType 2 =*/18).string(message.extensions[keys[i]]).ldelim();
                if (message.timeNanos != null && $Object.hasOwnProperty.call(message, "timeNanos") && message.timeNanos !== 0)
                    writer.uint32(/* id 16, wireType 0 =*/128).uint32(message.timeNanos);
                if (message.$unknowns != null && $Object.hasOwnProperty.call(message, "$unknowns"))
                    for (let i = 0; i < message.$unknowns.length; ++i)
                        writer.raw(message.$unknowns[i]);
                return writer;
            };

            /**
             * Encodes the specified Event message, length delimited. Does not implicitly {@link millrace.v1.Event.verify|verify} messages.
             * @function encodeDelimited
             * @memberof millrace.v1.Event
             * @static
             * @param {millrace.v1.Event.$Properties} message Event message or plain object to encode
             * @param {$protobuf.Writer} [writer] Writer to encode to
             * @returns {$protobuf.Writer} Writer
             */
            Event.encodeDelimited = function(message, writer) {
                return this.encode(message, (writer || $Writer.create()).fork()).ldelim();
            };

            /**
             * Decodes an Event message from the specified reader or buffer.
             * @function decode
             * @memberof millrace.v1.Event
             * @static
             * @param {$protobuf.Reader|Uint8Array} reader Reader or buffer to decode from
             * @param {number} [length] Message length if known beforehand
             * @returns {millrace.v1.Event & millrace.v1.Event.$Shape} Event
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            Event.decode = function (reader, length, _end, _depth, _target) {
                if (!(reader instanceof $Reader))
                    reader = $Reader.create(reader);
                if (_depth === $undefined)
                    _depth = 0;
                if (_depth > $Reader.recursionLimit)
                    throw $Error("max depth exceeded");
                let end, message, key, value;
                if (length === $undefined)
                    end = reader.len;
                else {
                    end = reader.pos + length;
                    if (end > reader.len)
                        throw $RangeError("index out of range");
                    length = reader.len;
                    reader.len = end;
                }
                message = _target || new $root.millrace.v1.Event();
                while (reader.pos < end) {
                    let start = reader.pos;
                    let tag = reader.tag();
                    if (tag === _end) {
                        _end = $undefined;
                        break;
                    }
                    let wireType = tag & 7;
                    switch (tag >>>= 3) {
                    case 1: {
                            if (wireType !== 2)
                                break;
                            if ((value = reader.stringVerify()).length)
                                message.id = value;
                            else
                                delete message.id;
                            continue;
                        }
                    case 2: {
                            if (wireType !== 2)
                                break;
                            if ((value = reader.stringVerify()).length)
                                message.subject = value;
                            else
                                delete message.subject;
                            continue;
                        }
                    case 3: {
                            if (wireType !== 2)
                                break;
                            if ((value = reader.bytes()).length)
                                message.data = value;
                            else
                                delete message.data;
                            continue;
                        }
                    case 4: {
                            if (wireType !== 0)
                                break;
                            if (typeof (value = reader.uint64()) === "object" ? value.low || value.high : value !== 0)
                                message.timeMs = value;
                            else
                                delete message.timeMs;
                            continue;
                        }
                    case 5: {
                            if (wireType !== 2)
                                break;
                            if ((value = reader.stringVerify()).length)
                                message.source = value;
                            else
                                delete message.source;
                            continue;
                        }
                    case 6: {
                            if (wireType !== 0)
                                break;
                            if (value = reader.uint32())
                                message.schema = value;
                            else
                                delete message.schema;
                            continue;
                        }
                    case 7: {
                            if (wireType !== 0)
                                break;
                            if (value = reader.uint32())
                                message.position = value;
                            else
                                delete message.position;
                            continue;
                        }
                    case 8: {
                            if (wireType !== 2)
                                break;
                            if ((value = reader.stringVerify()).length)
                                message.type = value;
                            else
                                delete message.type;
                            continue;
                        }
                    case 9: {
                            if (wireType !== 2)
                                break;
                            if (message.extensions === $util.emptyObject)
                                message.extensions = {};
                            let end2 = reader.size() + reader.pos;
                            if (end2 > reader.len)
                                throw $RangeError("index out of range");
                            reader.len = end2;
                            key = "";
                            value = "";
                            while (reader.pos < end2) {
                                let tag2 = reader.tag();
                                wireType = tag2 & 7;
                                switch (tag2 >>>= 3) {
                                case 1:
                                    if (wireType !== 2)
                                        break;
                                    key = reader.stringVerify();
                                    continue;
                                case 2:
                                    if (wireType !== 2)
                                        break;
                                    value = reader.stringVerify();
                                    continue;
                                }
                                reader.skipType(wireType, _depth, tag2);
                            }
                            if (reader.pos !== end2)
                                throw $RangeError("index out of range");
                            reader.len = end;
                            if (key === "__proto__")
                                $util.makeProp(message.extensions, key);
                            message.extensions[key] = value;
                            continue;
                        }
                    case 16: {
                            if (wireType !== 0)
                                break;
                            if (value = reader.uint32())
                                message.timeNanos = value;
                            else
                                delete message.timeNanos;
                            continue;
                        }
                    }
                    reader.skipType(wireType, _depth, tag);
                    if (!reader.discardUnknown) {
                        $util.makeProp(message, "$unknowns", false);
                        (message.$unknowns || (message.$unknowns = [])).push(reader.raw(start, reader.pos));
                    }
                }
                if (length !== $undefined) {
                    if (reader.pos !== end)
                        throw $RangeError("index out of range");
                    reader.len = length;
                }
                if (_end !== $undefined)
                    throw $Error("missing end group");
                return message;
            };

            /**
             * Decodes an Event message from the specified reader or buffer, length delimited.
             * @function decodeDelimited
             * @memberof millrace.v1.Event
             * @static
             * @param {$protobuf.Reader|Uint8Array} reader Reader or buffer to decode from
             * @returns {millrace.v1.Event & millrace.v1.Event.$Shape} Event
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            Event.decodeDelimited = function(reader) {
                if (!(reader instanceof $Reader))
                    reader = new $Reader(reader);
                return this.decode(reader, reader.size());
            };

            /**
             * Verifies an Event message.
             * @function verify
             * @memberof millrace.v1.Event
             * @static
             * @param {Object.<string,*>} message Plain object to verify
             * @returns {string|null} `null` if valid, otherwise the reason why it is not
             */
            Event.verify = function (message, _depth) {
                if (typeof message !== "object" || message === null)
                    return "object expected";
                if (_depth === $undefined)
                    _depth = 0;
                if (_depth > $util.recursionLimit)
                    return "max depth exceeded";
                if (message.id != null && $Object.hasOwnProperty.call(message, "id"))
                    if (!$util.isString(message.id))
                        return "id: string expected";
                if (message.subject != null && $Object.hasOwnProperty.call(message, "subject"))
                    if (!$util.isString(message.subject))
                        return "subject: string expected";
                if (message.data != null && $Object.hasOwnProperty.call(message, "data"))
                    if (!(message.data && typeof message.data.length === "number" || $util.isString(message.data)))
                        return "data: buffer expected";
                if (message.timeMs != null && $Object.hasOwnProperty.call(message, "timeMs"))
                    if (!$util.isInteger(message.timeMs) && !(message.timeMs && $util.isInteger(message.timeMs.low) && $util.isInteger(message.timeMs.high)))
                        return "timeMs: integer|Long expected";
                if (message.source != null && $Object.hasOwnProperty.call(message, "source"))
                    if (!$util.isString(message.source))
                        return "source: string expected";
                if (message.schema != null && $Object.hasOwnProperty.call(message, "schema"))
                    if (!$util.isInteger(message.schema))
                        return "schema: integer expected";
                if (message.position != null && $Object.hasOwnProperty.call(message, "position"))
                    if (!$util.isInteger(message.position))
                        return "position: integer expected";
                if (message.type != null && $Object.hasOwnProperty.call(message, "type"))
                    if (!$util.isString(message.type))
                        return "type: string expected";
                if (message.extensions != null && $Object.hasOwnProperty.call(message, "extensions")) {
                    if (!$util.isObject(message.extensions))
                        return "extensions: object expected";
                    let key = $Object.keys(message.extensions);
                    for (let i = 0; i < key.length; ++i)
                        if (!$util.isString(message.extensions[key[i]]))
                            return "extensions: string{k:string} expected";
                }
                if (message.timeNanos != null && $Object.hasOwnProperty.call(message, "timeNanos"))
                    if (!$util.isInteger(message.timeNanos))
                        return "timeNanos: integer expected";
                return null;
            };

            /**
             * Creates an Event message from a plain object. Also converts values to their respective internal types.
             * @function fromObject
             * @memberof millrace.v1.Event
             * @static
             * @param {Object.<string,*>} object Plain object
             * @returns {millrace.v1.Event} Event
             */
            Event.fromObject = function (object, _depth) {
                if (object instanceof $root.millrace.v1.Event)
                    return object;
                if (!$util.isObject(object))
                    throw $TypeError(".millrace.v1.Event: object expected");
                if (_depth === $undefined)
                    _depth = 0;
                if (_depth > $util.recursionLimit)
                    throw $Error("max depth exceeded");
                let message = new $root.millrace.v1.Event();
                if (object.id != null)
                    if (typeof object.id !== "string" || object.id.length)
                        message.id = $String(object.id);
                if (object.subject != null)
                    if (typeof object.subject !== "string" || object.subject.length)
                        message.subject = $String(object.subject);
                if (object.data != null)
                    if (object.data.length)
                        if (typeof object.data === "string")
                            $util.base64.decode(object.data, message.data = $util.newBuffer($util.base64.length(object.data)), 0);
                        else if (object.data.length >= 0)
                            message.data = object.data;
                if (object.timeMs != null)
                    if (typeof object.timeMs === "object" ? object.timeMs.low || object.timeMs.high : $Number(object.timeMs) !== 0)
                        if ($util.Long)
                            message.timeMs = $util.Long.fromValue(object.timeMs, true);
                        else if (typeof object.timeMs === "string")
                            message.timeMs = $parseInt(object.timeMs, 10);
                        else if (typeof object.timeMs === "number")
                            message.timeMs = object.timeMs;
                        else if (typeof object.timeMs === "object")
                            message.timeMs = new $util.LongBits(object.timeMs.low >>> 0, object.timeMs.high >>> 0).toNumber(true);
                if (object.source != null)
                    if (typeof object.source !== "string" || object.source.length)
                        message.source = $String(object.source);
                if (object.schema != null)
                    if ($Number(object.schema) !== 0)
                        message.schema = object.schema >>> 0;
                if (object.position != null)
                    if ($Number(object.position) !== 0)
                        message.position = object.position >>> 0;
                if (object.type != null)
                    if (typeof object.type !== "string" || object.type.length)
                        message.type = $String(object.type);
                if (object.extensions) {
                    if (!$util.isObject(object.extensions))
                        throw $TypeError(".millrace.v1.Event.extensions: object expected");
                    message.extensions = {};
                    for (let keys = $Object.keys(object.extensions), i = 0; i < keys.length; ++i) {
                        if (keys[i] === "__proto__")
                            $util.makeProp(message.extensions, keys[i]);
                        message.extensions[keys[i]] = $String(object.extensions[keys[i]]);
                    }
                }
                if (object.timeNanos != null)
                    if ($Number(object.timeNanos) !== 0)
                        message.timeNanos = object.timeNanos >>> 0;
                return message;
            };

            /**
             * Creates a plain object from an Event message. Also converts values to other types if specified.
             * @function toObject
             * @memberof millrace.v1.Event
             * @static
             * @param {millrace.v1.Event} message Event
             * @param {$protobuf.IConversionOptions} [options] Conversion options
             * @returns {Object.<string,*>} Plain object
             */
            Event.toObject = function (message, options, _depth) {
                if (!options)
                    options = {};
                if (_depth === $undefined)
                    _depth = 0;
                if (_depth > $util.recursionLimit)
                    throw $Error("max depth exceeded");
                let object = {};
                if (options.objects || options.defaults)
                    object.extensions = {};
                if (options.defaults) {
                    object.id = "";
                    object.subject = "";
                    if (options.bytes === $String)
                        object.data = "";
                    else {
                        object.data = [];
                        if (options.bytes !== $Array)
                            object.data = $util.newBuffer(object.data);
                    }
                    if ($util.Long) {
                        let long = new $util.Long(0, 0, true);
                        object.timeMs = options.longs === $String ? long.toString() : options.longs === $Number ? long.toNumber() : typeof $BigInt !== "undefined" && options.longs === $BigInt ? long.toBigInt() : long;
                    } else
                        object.timeMs = options.longs === $String ? "0" : typeof $BigInt !== "undefined" && options.longs === $BigInt ? $BigInt("0") : 0;
                    object.source = "";
                    object.schema = 0;
                    object.position = 0;
                    object.type = "";
                    object.timeNanos = 0;
                }
                if (message.id != null && $Object.hasOwnProperty.call(message, "id"))
                    object.id = message.id;
                if (message.subject != null && $Object.hasOwnProperty.call(message, "subject"))
                    object.subject = message.subject;
                if (message.data != null && $Object.hasOwnProperty.call(message, "data"))
                    object.data = options.bytes === $String ? $util.base64.encode(message.data, 0, message.data.length) : options.bytes === $Array ? $Array.prototype.slice.call(message.data) : message.data;
                if (message.timeMs != null && $Object.hasOwnProperty.call(message, "timeMs"))
                    if (typeof $BigInt !== "undefined" && options.longs === $BigInt)
                        object.timeMs = typeof message.timeMs === "number" ? $BigInt(message.timeMs) : $util.Long.fromBits(message.timeMs.low >>> 0, message.timeMs.high >>> 0, true).toBigInt();
                    else if (typeof message.timeMs === "number")
                        object.timeMs = options.longs === $String ? $String(message.timeMs) : message.timeMs;
                    else
                        object.timeMs = options.longs === $String ? $util.Long.prototype.toString.call(message.timeMs) : options.longs === $Number ? new $util.LongBits(message.timeMs.low >>> 0, message.timeMs.high >>> 0).toNumber(true) : message.timeMs;
                if (message.source != null && $Object.hasOwnProperty.call(message, "source"))
                    object.source = message.source;
                if (message.schema != null && $Object.hasOwnProperty.call(message, "schema"))
                    object.schema = message.schema;
                if (message.position != null && $Object.hasOwnProperty.call(message, "position"))
                    object.position = message.position;
                if (message.type != null && $Object.hasOwnProperty.call(message, "type"))
                    object.type = message.type;
                let keys2;
                if (message.extensions && (keys2 = $Object.keys(message.extensions)).length) {
                    object.extensions = {};
                    for (let j = 0; j < keys2.length; ++j) {
                        if (keys2[j] === "__proto__")
                            $util.makeProp(object.extensions, keys2[j]);
                        object.extensions[keys2[j]] = message.extensions[keys2[j]];
                    }
                }
                if (message.timeNanos != null && $Object.hasOwnProperty.call(message, "timeNanos"))
                    object.timeNanos = message.timeNanos;
                return object;
            };

            /**
             * Converts this Event to JSON.
             * @function toJSON
             * @memberof millrace.v1.Event
             * @instance
             * @returns {Object.<string,*>} JSON object
             */
            Event.prototype.toJSON = function() {
                return Event.toObject(this, $protobuf.util.toJSONOptions);
            };

            /**
             * Gets the type url for Event
             * @function getTypeUrl
             * @memberof millrace.v1.Event
             * @static
             * @param {string} [prefix] Custom type url prefix, defaults to `"type.googleapis.com"`
             * @returns {string} The type url
             */
            Event.getTypeUrl = function(prefix) {
                if (prefix === $undefined)
                    prefix = "type.googleapis.com";
                return prefix + "/millrace.v1.Event";
            };

            return Event;
        })();

        v1.ParkedEvent = (function() {

            /**
             * Properties of a ParkedEvent.
             * @typedef {Object} millrace.v1.ParkedEvent.$Properties
             * @property {Uint8Array|null} [event] ParkedEvent event
             * @property {string|null} [type] ParkedEvent type
             * @property {string|null} [entryId] ParkedEvent entryId
             * @property {number|null} [index] ParkedEvent index
             * @property {number|null} [position] ParkedEvent position
             * @property {number|null} [attempts] ParkedEvent attempts
             * @property {number|Long|null} [firstFailedMs] ParkedEvent firstFailedMs
             * @property {number|Long|null} [lastFailedMs] ParkedEvent lastFailedMs
             * @property {Array.<millrace.v1.Attempt.$Properties>|null} [history] ParkedEvent history
             * @property {boolean|null} [isolate] ParkedEvent isolate
             * @property {string|null} [eventId] ParkedEvent eventId
             * @property {string|null} [subject] ParkedEvent subject
             * @property {number|Long|null} [waitingSinceMs] ParkedEvent waitingSinceMs
             * @property {Uint8Array|null} [batchSource] ParkedEvent batchSource
             * @property {Array.<Uint8Array>} [$unknowns] Unknown fields preserved while decoding when enabled
             */

            /**
             * Properties of a ParkedEvent.
             * @memberof millrace.v1
             * @interface IParkedEvent
             * @augments millrace.v1.ParkedEvent.$Properties
             * @deprecated Use millrace.v1.ParkedEvent.$Properties instead.
             */

            /**
             * Shape of a ParkedEvent.
             * @typedef {millrace.v1.ParkedEvent.$Properties} millrace.v1.ParkedEvent.$Shape
             */

            /**
             * Constructs a new ParkedEvent.
             * @memberof millrace.v1
             * @classdesc Represents a ParkedEvent.
             * @constructor
             * @param {millrace.v1.ParkedEvent.$Properties=} [properties] Properties to set
             * @property {Array.<Uint8Array>} [$unknowns] Unknown fields preserved while decoding when enabled
             */
            const ParkedEvent = function (properties) {
                this.history = [];
                if (properties)
                    for (let keys = $Object.keys(properties), i = 0; i < keys.length; ++i)
                        if (properties[keys[i]] != null && keys[i] !== "__proto__")
                            this[keys[i]] = properties[keys[i]];
            };

            /**
             * ParkedEvent event.
             * @member {Uint8Array} event
             * @memberof millrace.v1.ParkedEvent
             * @instance
             */
            ParkedEvent.prototype.event = $util.newBuffer([]);

            /**
             * ParkedEvent type.
             * @member {string} type
             * @memberof millrace.v1.ParkedEvent
             * @instance
             */
            ParkedEvent.prototype.type = "";

            /**
             * ParkedEvent entryId.
             * @member {string} entryId
             * @memberof millrace.v1.ParkedEvent
             * @instance
             */
            ParkedEvent.prototype.entryId = "";

            /**
             * ParkedEvent index.
             * @member {number} index
             * @memberof millrace.v1.ParkedEvent
             * @instance
             */
            ParkedEvent.prototype.index = 0;

            /**
             * ParkedEvent position.
             * @member {number} position
             * @memberof millrace.v1.ParkedEvent
             * @instance
             */
            ParkedEvent.prototype.position = 0;

            /**
             * ParkedEvent attempts.
             * @member {number} attempts
             * @memberof millrace.v1.ParkedEvent
             * @instance
             */
            ParkedEvent.prototype.attempts = 0;

            /**
             * ParkedEvent firstFailedMs.
             * @member {number|Long} firstFailedMs
             * @memberof millrace.v1.ParkedEvent
             * @instance
             */
            ParkedEvent.prototype.firstFailedMs = $util.Long ? $util.Long.fromBits(0,0,true) : 0;

            /**
             * ParkedEvent lastFailedMs.
             * @member {number|Long} lastFailedMs
             * @memberof millrace.v1.ParkedEvent
             * @instance
             */
            ParkedEvent.prototype.lastFailedMs = $util.Long ? $util.Long.fromBits(0,0,true) : 0;

            /**
             * ParkedEvent history.
             * @member {Array.<millrace.v1.Attempt.$Properties>} history
             * @memberof millrace.v1.ParkedEvent
             * @instance
             */
            ParkedEvent.prototype.history = $util.emptyArray;

            /**
             * ParkedEvent isolate.
             * @member {boolean} isolate
             * @memberof millrace.v1.ParkedEvent
             * @instance
             */
            ParkedEvent.prototype.isolate = false;

            /**
             * ParkedEvent eventId.
             * @member {string} eventId
             * @memberof millrace.v1.ParkedEvent
             * @instance
             */
            ParkedEvent.prototype.eventId = "";

            /**
             * ParkedEvent subject.
             * @member {string} subject
             * @memberof millrace.v1.ParkedEvent
             * @instance
             */
            ParkedEvent.prototype.subject = "";

            /**
             * ParkedEvent waitingSinceMs.
             * @member {number|Long} waitingSinceMs
             * @memberof millrace.v1.ParkedEvent
             * @instance
             */
            ParkedEvent.prototype.waitingSinceMs = $util.Long ? $util.Long.fromBits(0,0,true) : 0;

            /**
             * ParkedEvent batchSource.
             * @member {Uint8Array} batchSource
             * @memberof millrace.v1.ParkedEvent
             * @instance
             */
            ParkedEvent.prototype.batchSource = $util.newBuffer([]);

            /**
             * Creates a new ParkedEvent instance using the specified properties.
             * @function create
             * @memberof millrace.v1.ParkedEvent
             * @static
             * @param {millrace.v1.ParkedEvent.$Properties=} [properties] Properties to set
             * @returns {millrace.v1.ParkedEvent} ParkedEvent instance
             * @type {{
             *   (properties: millrace.v1.ParkedEvent.$Shape): millrace.v1.ParkedEvent & millrace.v1.ParkedEvent.$Shape;
             *   (properties?: millrace.v1.ParkedEvent.$Properties): millrace.v1.ParkedEvent;
             * }}
             */
            ParkedEvent.create = function(properties) {
                return new ParkedEvent(properties);
            };

            /**
             * Encodes the specified ParkedEvent message. Does not implicitly {@link millrace.v1.ParkedEvent.verify|verify} messages.
             * @function encode
             * @memberof millrace.v1.ParkedEvent
             * @static
             * @param {millrace.v1.ParkedEvent.$Properties} message ParkedEvent message or plain object to encode
             * @param {$protobuf.Writer} [writer] Writer to encode to
             * @returns {$protobuf.Writer} Writer
             */
            ParkedEvent.encode = function (message, writer, _depth) {
                if (!writer)
                    writer = $Writer.create();
                if (_depth === $undefined)
                    _depth = 0;
                if (_depth > $util.recursionLimit)
                    throw $Error("max depth exceeded");
                if (message.event != null && $Object.hasOwnProperty.call(message, "event") && message.event.length)
                    writer.uint32(/* id 1, wireType 2 =*/10).bytes(message.event);
                if (message.type != null && $Object.hasOwnProperty.call(message, "type") && message.type !== "")
                    writer.uint32(/* id 2, wireType 2 =*/18).string(message.type);
                if (message.entryId != null && $Object.hasOwnProperty.call(message, "entryId") && message.entryId !== "")
                    writer.uint32(/* id 3, wireType 2 =*/26).string(message.entryId);
                if (message.index != null && $Object.hasOwnProperty.call(message, "index") && message.index !== 0)
                    writer.uint32(/* id 4, wireType 0 =*/32).uint32(message.index);
                if (message.position != null && $Object.hasOwnProperty.call(message, "position") && message.position !== 0)
                    writer.uint32(/* id 5, wireType 0 =*/40).uint32(message.position);
                if (message.attempts != null && $Object.hasOwnProperty.call(message, "attempts") && message.attempts !== 0)
                    writer.uint32(/* id 6, wireType 0 =*/48).uint32(message.attempts);
                if (message.firstFailedMs != null && $Object.hasOwnProperty.call(message, "firstFailedMs") && (typeof message.firstFailedMs === "object" ? message.firstFailedMs.low || message.firstFailedMs.high : message.firstFailedMs !== 0))
                    writer.uint32(/* id 7, wireType 0 =*/56).uint64(message.firstFailedMs);
                if (message.lastFailedMs != null && $Object.hasOwnProperty.call(message, "lastFailedMs") && (typeof message.lastFailedMs === "object" ? message.lastFailedMs.low || message.lastFailedMs.high : message.lastFailedMs !== 0))
                    writer.uint32(/* id 8, wireType 0 =*/64).uint64(message.lastFailedMs);
                if (message.history != null && message.history.length)
                    for (let i = 0; i < message.history.length; ++i)
                        $root.millrace.v1.Attempt.encode(message.history[i], writer.uint32(/* id 9, wireType 2 =*/74).fork(), _depth + 1).ldelim();
                if (message.isolate != null && $Object.hasOwnProperty.call(message, "isolate") && message.isolate !== false)
                    writer.uint32(/* id 10, wireType 0 =*/80).bool(message.isolate);
                if (message.eventId != null && $Object.hasOwnProperty.call(message, "eventId") && message.eventId !== "")
                    writer.uint32(/* id 11, wireType 2 =*/90).string(message.eventId);
                if (message.subject != null && $Object.hasOwnProperty.call(message, "subject") && message.subject !== "")
                    writer.uint32(/* id 12, wireType 2 =*/98).string(message.subject);
                if (message.waitingSinceMs != null && $Object.hasOwnProperty.call(message, "waitingSinceMs") && (typeof message.waitingSinceMs === "object" ? message.waitingSinceMs.low || message.waitingSinceMs.high : message.waitingSinceMs !== 0))
                    writer.uint32(/* id 13, wireType 0 =*/104).uint64(message.waitingSinceMs);
                if (message.batchSource != null && $Object.hasOwnProperty.call(message, "batchSource") && message.batchSource.length)
                    writer.uint32(/* id 14, wireType 2 =*/114).bytes(message.batchSource);
                if (message.$unknowns != null && $Object.hasOwnProperty.call(message, "$unknowns"))
                    for (let i = 0; i < message.$unknowns.length; ++i)
                        writer.raw(message.$unknowns[i]);
                return writer;
            };

            /**
             * Encodes the specified ParkedEvent message, length delimited. Does not implicitly {@link millrace.v1.ParkedEvent.verify|verify} messages.
             * @function encodeDelimited
             * @memberof millrace.v1.ParkedEvent
             * @static
             * @param {millrace.v1.ParkedEvent.$Properties} message ParkedEvent message or plain object to encode
             * @param {$protobuf.Writer} [writer] Writer to encode to
             * @returns {$protobuf.Writer} Writer
             */
            ParkedEvent.encodeDelimited = function(message, writer) {
                return this.encode(message, (writer || $Writer.create()).fork()).ldelim();
            };

            /**
             * Decodes a ParkedEvent message from the specified reader or buffer.
             * @function decode
             * @memberof millrace.v1.ParkedEvent
             * @static
             * @param {$protobuf.Reader|Uint8Array} reader Reader or buffer to decode from
             * @param {number} [length] Message length if known beforehand
             * @returns {millrace.v1.ParkedEvent & millrace.v1.ParkedEvent.$Shape} ParkedEvent
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            ParkedEvent.decode = function (reader, length, _end, _depth, _target) {
                if (!(reader instanceof $Reader))
                    reader = $Reader.create(reader);
                if (_depth === $undefined)
                    _depth = 0;
                if (_depth > $Reader.recursionLimit)
                    throw $Error("max depth exceeded");
                let end, message, value;
                if (length === $undefined)
                    end = reader.len;
                else {
                    end = reader.pos + length;
                    if (end > reader.len)
                        throw $RangeError("index out of range");
                    length = reader.len;
                    reader.len = end;
                }
                message = _target || new $root.millrace.v1.ParkedEvent();
                while (reader.pos < end) {
                    let start = reader.pos;
                    let tag = reader.tag();
                    if (tag === _end) {
                        _end = $undefined;
                        break;
                    }
                    let wireType = tag & 7;
                    switch (tag >>>= 3) {
                    case 1: {
                            if (wireType !== 2)
                                break;
                            if ((value = reader.bytes()).length)
                                message.event = value;
                            else
                                delete message.event;
                            continue;
                        }
                    case 2: {
                            if (wireType !== 2)
                                break;
                            if ((value = reader.stringVerify()).length)
                                message.type = value;
                            else
                                delete message.type;
                            continue;
                        }
                    case 3: {
                            if (wireType !== 2)
                                break;
                            if ((value = reader.stringVerify()).length)
                                message.entryId = value;
                            else
                                delete message.entryId;
                            continue;
                        }
                    case 4: {
                            if (wireType !== 0)
                                break;
                            if (value = reader.uint32())
                                message.index = value;
                            else
                                delete message.index;
                            continue;
                        }
                    case 5: {
                            if (wireType !== 0)
                                break;
                            if (value = reader.uint32())
                                message.position = value;
                            else
                                delete message.position;
                            continue;
                        }
                    case 6: {
                            if (wireType !== 0)
                                break;
                            if (value = reader.uint32())
                                message.attempts = value;
                            else
                                delete message.attempts;
                            continue;
                        }
                    case 7: {
                            if (wireType !== 0)
                                break;
                            if (typeof (value = reader.uint64()) === "object" ? value.low || value.high : value !== 0)
                                message.firstFailedMs = value;
                            else
                                delete message.firstFailedMs;
                            continue;
                        }
                    case 8: {
                            if (wireType !== 0)
                                break;
                            if (typeof (value = reader.uint64()) === "object" ? value.low || value.high : value !== 0)
                                message.lastFailedMs = value;
                            else
                                delete message.lastFailedMs;
                            continue;
                        }
                    case 9: {
                            if (wireType !== 2)
                                break;
                            if (!(message.history && message.history.length))
                                message.history = [];
                            message.history.push($root.millrace.v1.Attempt.decode(reader, reader.size(), $undefined, _depth + 1));
                            continue;
                        }
                    case 10: {
                            if (wireType !== 0)
                                break;
                            if (value = reader.bool())
                                message.isolate = value;
                            else
                                delete message.isolate;
                            continue;
                        }
                    case 11: {
                            if (wireType !== 2)
                                break;
                            if ((value = reader.stringVerify()).length)
                                message.eventId = value;
                            else
                                delete message.eventId;
                            continue;
                        }
                    case 12: {
                            if (wireType !== 2)
                                break;
                            if ((value = reader.stringVerify()).length)
                                message.subject = value;
                            else
                                delete message.subject;
                            continue;
                        }
                    case 13: {
                            if (wireType !== 0)
                                break;
                            if (typeof (value = reader.uint64()) === "object" ? value.low || value.high : value !== 0)
                                message.waitingSinceMs = value;
                            else
                                delete message.waitingSinceMs;
                            continue;
                        }
                    case 14: {
                            if (wireType !== 2)
                                break;
                            if ((value = reader.bytes()).length)
                                message.batchSource = value;
                            else
                                delete message.batchSource;
                            continue;
                        }
                    }
                    reader.skipType(wireType, _depth, tag);
                    if (!reader.discardUnknown) {
                        $util.makeProp(message, "$unknowns", false);
                        (message.$unknowns || (message.$unknowns = [])).push(reader.raw(start, reader.pos));
                    }
                }
                if (length !== $undefined) {
                    if (reader.pos !== end)
                        throw $RangeError("index out of range");
                    reader.len = length;
                }
                if (_end !== $undefined)
                    throw $Error("missing end group");
                return message;
            };

            /**
             * Decodes a ParkedEvent message from the specified reader or buffer, length delimited.
             * @function decodeDelimited
             * @memberof millrace.v1.ParkedEvent
             * @static
             * @param {$protobuf.Reader|Uint8Array} reader Reader or buffer to decode from
             * @returns {millrace.v1.ParkedEvent & millrace.v1.ParkedEvent.$Shape} ParkedEvent
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            ParkedEvent.decodeDelimited = function(reader) {
                if (!(reader instanceof $Reader))
                    reader = new $Reader(reader);
                return this.decode(reader, reader.size());
            };

            /**
             * Verifies a ParkedEvent message.
             * @function verify
             * @memberof millrace.v1.ParkedEvent
             * @static
             * @param {Object.<string,*>} message Plain object to verify
             * @returns {string|null} `null` if valid, otherwise the reason why it is not
             */
            ParkedEvent.verify = function (message, _depth) {
                if (typeof message !== "object" || message === null)
                    return "object expected";
                if (_depth === $undefined)
                    _depth = 0;
                if (_depth > $util.recursionLimit)
                    return "max depth exceeded";
                if (message.event != null && $Object.hasOwnProperty.call(message, "event"))
                    if (!(message.event && typeof message.event.length === "number" || $util.isString(message.event)))
                        return "event: buffer expected";
                if (message.type != null && $Object.hasOwnProperty.call(message, "type"))
                    if (!$util.isString(message.type))
                        return "type: string expected";
                if (message.entryId != null && $Object.hasOwnProperty.call(message, "entryId"))
                    if (!$util.isString(message.entryId))
                        return "entryId: string expected";
                if (message.index != null && $Object.hasOwnProperty.call(message, "index"))
                    if (!$util.isInteger(message.index))
                        return "index: integer expected";
                if (message.position != null && $Object.hasOwnProperty.call(message, "position"))
                    if (!$util.isInteger(message.position))
                        return "position: integer expected";
                if (message.attempts != null && $Object.hasOwnProperty.call(message, "attempts"))
                    if (!$util.isInteger(message.attempts))
                        return "attempts: integer expected";
                if (message.firstFailedMs != null && $Object.hasOwnProperty.call(message, "firstFailedMs"))
                    if (!$util.isInteger(message.firstFailedMs) && !(message.firstFailedMs && $util.isInteger(message.firstFailedMs.low) && $util.isInteger(message.firstFailedMs.high)))
                        return "firstFailedMs: integer|Long expected";
                if (message.lastFailedMs != null && $Object.hasOwnProperty.call(message, "lastFailedMs"))
                    if (!$util.isInteger(message.lastFailedMs) && !(message.lastFailedMs && $util.isInteger(message.lastFailedMs.low) && $util.isInteger(message.lastFailedMs.high)))
                        return "lastFailedMs: integer|Long expected";
                if (message.history != null && $Object.hasOwnProperty.call(message, "history")) {
                    if (!$Array.isArray(message.history))
                        return "history: array expected";
                    for (let i = 0; i < message.history.length; ++i) {
                        let error = $root.millrace.v1.Attempt.verify(message.history[i], _depth + 1);
                        if (error)
                            return "history." + error;
                    }
                }
                if (message.isolate != null && $Object.hasOwnProperty.call(message, "isolate"))
                    if (typeof message.isolate !== "boolean")
                        return "isolate: boolean expected";
                if (message.eventId != null && $Object.hasOwnProperty.call(message, "eventId"))
                    if (!$util.isString(message.eventId))
                        return "eventId: string expected";
                if (message.subject != null && $Object.hasOwnProperty.call(message, "subject"))
                    if (!$util.isString(message.subject))
                        return "subject: string expected";
                if (message.waitingSinceMs != null && $Object.hasOwnProperty.call(message, "waitingSinceMs"))
                    if (!$util.isInteger(message.waitingSinceMs) && !(message.waitingSinceMs && $util.isInteger(message.waitingSinceMs.low) && $util.isInteger(message.waitingSinceMs.high)))
                        return "waitingSinceMs: integer|Long expected";
                if (message.batchSource != null && $Object.hasOwnProperty.call(message, "batchSource"))
                    if (!(message.batchSource && typeof message.batchSource.length === "number" || $util.isString(message.batchSource)))
                        return "batchSource: buffer expected";
                return null;
            };

            /**
             * Creates a ParkedEvent message from a plain object. Also converts values to their respective internal types.
             * @function fromObject
             * @memberof millrace.v1.ParkedEvent
             * @static
             * @param {Object.<string,*>} object Plain object
             * @returns {millrace.v1.ParkedEvent} ParkedEvent
             */
            ParkedEvent.fromObject = function (object, _depth) {
                if (object instanceof $root.millrace.v1.ParkedEvent)
                    return object;
                if (!$util.isObject(object))
                    throw $TypeError(".millrace.v1.ParkedEvent: object expected");
                if (_depth === $undefined)
                    _depth = 0;
                if (_depth > $util.recursionLimit)
                    throw $Error("max depth exceeded");
                let message = new $root.millrace.v1.ParkedEvent();
                if (object.event != null)
                    if (object.event.length)
                        if (typeof object.event === "string")
                            $util.base64.decode(object.event, message.event = $util.newBuffer($util.base64.length(object.event)), 0);
                        else if (object.event.length >= 0)
                            message.event = object.event;
                if (object.type != null)
                    if (typeof object.type !== "string" || object.type.length)
                        message.type = $String(object.type);
                if (object.entryId != null)
                    if (typeof object.entryId !== "string" || object.entryId.length)
                        message.entryId = $String(object.entryId);
                if (object.index != null)
                    if ($Number(object.index) !== 0)
                        message.index = object.index >>> 0;
                if (object.position != null)
                    if ($Number(object.position) !== 0)
                        message.position = object.position >>> 0;
                if (object.attempts != null)
                    if ($Number(object.attempts) !== 0)
                        message.attempts = object.attempts >>> 0;
                if (object.firstFailedMs != null)
                    if (typeof object.firstFailedMs === "object" ? object.firstFailedMs.low || object.firstFailedMs.high : $Number(object.firstFailedMs) !== 0)
                        if ($util.Long)
                            message.firstFailedMs = $util.Long.fromValue(object.firstFailedMs, true);
                        else if (typeof object.firstFailedMs === "string")
                            message.firstFailedMs = $parseInt(object.firstFailedMs, 10);
                        else if (typeof object.firstFailedMs === "number")
                            message.firstFailedMs = object.firstFailedMs;
                        else if (typeof object.firstFailedMs === "object")
                            message.firstFailedMs = new $util.LongBits(object.firstFailedMs.low >>> 0, object.firstFailedMs.high >>> 0).toNumber(true);
                if (object.lastFailedMs != null)
                    if (typeof object.lastFailedMs === "object" ? object.lastFailedMs.low || object.lastFailedMs.high : $Number(object.lastFailedMs) !== 0)
                        if ($util.Long)
                            message.lastFailedMs = $util.Long.fromValue(object.lastFailedMs, true);
                        else if (typeof object.lastFailedMs === "string")
                            message.lastFailedMs = $parseInt(object.lastFailedMs, 10);
                        else if (typeof object.lastFailedMs === "number")
                            message.lastFailedMs = object.lastFailedMs;
                        else if (typeof object.lastFailedMs === "object")
                            message.lastFailedMs = new $util.LongBits(object.lastFailedMs.low >>> 0, object.lastFailedMs.high >>> 0).toNumber(true);
                if (object.history) {
                    if (!$Array.isArray(object.history))
                        throw $TypeError(".millrace.v1.ParkedEvent.history: array expected");
                    message.history = $Array(object.history.length);
                    for (let i = 0; i < object.history.length; ++i) {
                        if (!$util.isObject(object.history[i]))
                            throw $TypeError(".millrace.v1.ParkedEvent.history: object expected");
                        message.history[i] = $root.millrace.v1.Attempt.fromObject(object.history[i], _depth + 1);
                    }
                }
                if (object.isolate != null)
                    if (object.isolate)
                        message.isolate = $Boolean(object.isolate);
                if (object.eventId != null)
                    if (typeof object.eventId !== "string" || object.eventId.length)
                        message.eventId = $String(object.eventId);
                if (object.subject != null)
                    if (typeof object.subject !== "string" || object.subject.length)
                        message.subject = $String(object.subject);
                if (object.waitingSinceMs != null)
                    if (typeof object.waitingSinceMs === "object" ? object.waitingSinceMs.low || object.waitingSinceMs.high : $Number(object.waitingSinceMs) !== 0)
                        if ($util.Long)
                            message.waitingSinceMs = $util.Long.fromValue(object.waitingSinceMs, true);
                        else if (typeof object.waitingSinceMs === "string")
                            message.waitingSinceMs = $parseInt(object.waitingSinceMs, 10);
                        else if (typeof object.waitingSinceMs === "number")
                            message.waitingSinceMs = object.waitingSinceMs;
                        else if (typeof object.waitingSinceMs === "object")
                            message.waitingSinceMs = new $util.LongBits(object.waitingSinceMs.low >>> 0, object.waitingSinceMs.high >>> 0).toNumber(true);
                if (object.batchSource != null)
                    if (object.batchSource.length)
                        if (typeof object.batchSource === "string")
                            $util.base64.decode(object.batchSource, message.batchSource = $util.newBuffer($util.base64.length(object.batchSource)), 0);
                        else if (object.batchSource.length >= 0)
                            message.batchSource = object.batchSource;
                return message;
            };

            /**
             * Creates a plain object from a ParkedEvent message. Also converts values to other types if specified.
             * @function toObject
             * @memberof millrace.v1.ParkedEvent
             * @static
             * @param {millrace.v1.ParkedEvent} message ParkedEvent
             * @param {$protobuf.IConversionOptions} [options] Conversion options
             * @returns {Object.<string,*>} Plain object
             */
            ParkedEvent.toObject = function (message, options, _depth) {
                if (!options)
                    options = {};
                if (_depth === $undefined)
                    _depth = 0;
                if (_depth > $util.recursionLimit)
                    throw $Error("max depth exceeded");
                let object = {};
                if (options.arrays || options.defaults)
                    object.history = [];
                if (options.defaults) {
                    if (options.bytes === $String)
                        object.event = "";
                    else {
                        object.event = [];
                        if (options.bytes !== $Array)
                            object.event = $util.newBuffer(object.event);
                    }
                    object.type = "";
                    object.entryId = "";
                    object.index = 0;
                    object.position = 0;
                    object.attempts = 0;
                    if ($util.Long) {
                        let long = new $util.Long(0, 0, true);
                        object.firstFailedMs = options.longs === $String ? long.toString() : options.longs === $Number ? long.toNumber() : typeof $BigInt !== "undefined" && options.longs === $BigInt ? long.toBigInt() : long;
                    } else
                        object.firstFailedMs = options.longs === $String ? "0" : typeof $BigInt !== "undefined" && options.longs === $BigInt ? $BigInt("0") : 0;
                    if ($util.Long) {
                        let long = new $util.Long(0, 0, true);
                        object.lastFailedMs = options.longs === $String ? long.toString() : options.longs === $Number ? long.toNumber() : typeof $BigInt !== "undefined" && options.longs === $BigInt ? long.toBigInt() : long;
                    } else
                        object.lastFailedMs = options.longs === $String ? "0" : typeof $BigInt !== "undefined" && options.longs === $BigInt ? $BigInt("0") : 0;
                    object.isolate = false;
                    object.eventId = "";
                    object.subject = "";
                    if ($util.Long) {
                        let long = new $util.Long(0, 0, true);
                        object.waitingSinceMs = options.longs === $String ? long.toString() : options.longs === $Number ? long.toNumber() : typeof $BigInt !== "undefined" && options.longs === $BigInt ? long.toBigInt() : long;
                    } else
                        object.waitingSinceMs = options.longs === $String ? "0" : typeof $BigInt !== "undefined" && options.longs === $BigInt ? $BigInt("0") : 0;
                    if (options.bytes === $String)
                        object.batchSource = "";
                    else {
                        object.batchSource = [];
                        if (options.bytes !== $Array)
                            object.batchSource = $util.newBuffer(object.batchSource);
                    }
                }
                if (message.event != null && $Object.hasOwnProperty.call(message, "event"))
                    object.event = options.bytes === $String ? $util.base64.encode(message.event, 0, message.event.length) : options.bytes === $Array ? $Array.prototype.slice.call(message.event) : message.event;
                if (message.type != null && $Object.hasOwnProperty.call(message, "type"))
                    object.type = message.type;
                if (message.entryId != null && $Object.hasOwnProperty.call(message, "entryId"))
                    object.entryId = message.entryId;
                if (message.index != null && $Object.hasOwnProperty.call(message, "index"))
                    object.index = message.index;
                if (message.position != null && $Object.hasOwnProperty.call(message, "position"))
                    object.position = message.position;
                if (message.attempts != null && $Object.hasOwnProperty.call(message, "attempts"))
                    object.attempts = message.attempts;
                if (message.firstFailedMs != null && $Object.hasOwnProperty.call(message, "firstFailedMs"))
                    if (typeof $BigInt !== "undefined" && options.longs === $BigInt)
                        object.firstFailedMs = typeof message.firstFailedMs === "number" ? $BigInt(message.firstFailedMs) : $util.Long.fromBits(message.firstFailedMs.low >>> 0, message.firstFailedMs.high >>> 0, true).toBigInt();
                    else if (typeof message.firstFailedMs === "number")
                        object.firstFailedMs = options.longs === $String ? $String(message.firstFailedMs) : message.firstFailedMs;
                    else
                        object.firstFailedMs = options.longs === $String ? $util.Long.prototype.toString.call(message.firstFailedMs) : options.longs === $Number ? new $util.LongBits(message.firstFailedMs.low >>> 0, message.firstFailedMs.high >>> 0).toNumber(true) : message.firstFailedMs;
                if (message.lastFailedMs != null && $Object.hasOwnProperty.call(message, "lastFailedMs"))
                    if (typeof $BigInt !== "undefined" && options.longs === $BigInt)
                        object.lastFailedMs = typeof message.lastFailedMs === "number" ? $BigInt(message.lastFailedMs) : $util.Long.fromBits(message.lastFailedMs.low >>> 0, message.lastFailedMs.high >>> 0, true).toBigInt();
                    else if (typeof message.lastFailedMs === "number")
                        object.lastFailedMs = options.longs === $String ? $String(message.lastFailedMs) : message.lastFailedMs;
                    else
                        object.lastFailedMs = options.longs === $String ? $util.Long.prototype.toString.call(message.lastFailedMs) : options.longs === $Number ? new $util.LongBits(message.lastFailedMs.low >>> 0, message.lastFailedMs.high >>> 0).toNumber(true) : message.lastFailedMs;
                if (message.history && message.history.length) {
                    object.history = $Array(message.history.length);
                    for (let j = 0; j < message.history.length; ++j)
                        object.history[j] = $root.millrace.v1.Attempt.toObject(message.history[j], options, _depth + 1);
                }
                if (message.isolate != null && $Object.hasOwnProperty.call(message, "isolate"))
                    object.isolate = message.isolate;
                if (message.eventId != null && $Object.hasOwnProperty.call(message, "eventId"))
                    object.eventId = message.eventId;
                if (message.subject != null && $Object.hasOwnProperty.call(message, "subject"))
                    object.subject = message.subject;
                if (message.waitingSinceMs != null && $Object.hasOwnProperty.call(message, "waitingSinceMs"))
                    if (typeof $BigInt !== "undefined" && options.longs === $BigInt)
                        object.waitingSinceMs = typeof message.waitingSinceMs === "number" ? $BigInt(message.waitingSinceMs) : $util.Long.fromBits(message.waitingSinceMs.low >>> 0, message.waitingSinceMs.high >>> 0, true).toBigInt();
                    else if (typeof message.waitingSinceMs === "number")
                        object.waitingSinceMs = options.longs === $String ? $String(message.waitingSinceMs) : message.waitingSinceMs;
                    else
                        object.waitingSinceMs = options.longs === $String ? $util.Long.prototype.toString.call(message.waitingSinceMs) : options.longs === $Number ? new $util.LongBits(message.waitingSinceMs.low >>> 0, message.waitingSinceMs.high >>> 0).toNumber(true) : message.waitingSinceMs;
                if (message.batchSource != null && $Object.hasOwnProperty.call(message, "batchSource"))
                    object.batchSource = options.bytes === $String ? $util.base64.encode(message.batchSource, 0, message.batchSource.length) : options.bytes === $Array ? $Array.prototype.slice.call(message.batchSource) : message.batchSource;
                return object;
            };

            /**
             * Converts this ParkedEvent to JSON.
             * @function toJSON
             * @memberof millrace.v1.ParkedEvent
             * @instance
             * @returns {Object.<string,*>} JSON object
             */
            ParkedEvent.prototype.toJSON = function() {
                return ParkedEvent.toObject(this, $protobuf.util.toJSONOptions);
            };

            /**
             * Gets the type url for ParkedEvent
             * @function getTypeUrl
             * @memberof millrace.v1.ParkedEvent
             * @static
             * @param {string} [prefix] Custom type url prefix, defaults to `"type.googleapis.com"`
             * @returns {string} The type url
             */
            ParkedEvent.getTypeUrl = function(prefix) {
                if (prefix === $undefined)
                    prefix = "type.googleapis.com";
                return prefix + "/millrace.v1.ParkedEvent";
            };

            return ParkedEvent;
        })();

        v1.Attempt = (function() {

            /**
             * Properties of an Attempt.
             * @typedef {Object} millrace.v1.Attempt.$Properties
             * @property {number|Long|null} [atMs] Attempt atMs
             * @property {number|null} [attempt] Attempt attempt
             * @property {string|null} [name] Attempt name
             * @property {string|null} [message] Attempt message
             * @property {string|null} [cause] Attempt cause
             * @property {Array.<Uint8Array>} [$unknowns] Unknown fields preserved while decoding when enabled
             */

            /**
             * Properties of an Attempt.
             * @memberof millrace.v1
             * @interface IAttempt
             * @augments millrace.v1.Attempt.$Properties
             * @deprecated Use millrace.v1.Attempt.$Properties instead.
             */

            /**
             * Shape of an Attempt.
             * @typedef {millrace.v1.Attempt.$Properties} millrace.v1.Attempt.$Shape
             */

            /**
             * Constructs a new Attempt.
             * @memberof millrace.v1
             * @classdesc Represents an Attempt.
             * @constructor
             * @param {millrace.v1.Attempt.$Properties=} [properties] Properties to set
             * @property {Array.<Uint8Array>} [$unknowns] Unknown fields preserved while decoding when enabled
             */
            const Attempt = function (properties) {
                if (properties)
                    for (let keys = $Object.keys(properties), i = 0; i < keys.length; ++i)
                        if (properties[keys[i]] != null && keys[i] !== "__proto__")
                            this[keys[i]] = properties[keys[i]];
            };

            /**
             * Attempt atMs.
             * @member {number|Long} atMs
             * @memberof millrace.v1.Attempt
             * @instance
             */
            Attempt.prototype.atMs = $util.Long ? $util.Long.fromBits(0,0,true) : 0;

            /**
             * Attempt attempt.
             * @member {number} attempt
             * @memberof millrace.v1.Attempt
             * @instance
             */
            Attempt.prototype.attempt = 0;

            /**
             * Attempt name.
             * @member {string} name
             * @memberof millrace.v1.Attempt
             * @instance
             */
            Attempt.prototype.name = "";

            /**
             * Attempt message.
             * @member {string} message
             * @memberof millrace.v1.Attempt
             * @instance
             */
            Attempt.prototype.message = "";

            /**
             * Attempt cause.
             * @member {string} cause
             * @memberof millrace.v1.Attempt
             * @instance
             */
            Attempt.prototype.cause = "";

            /**
             * Creates a new Attempt instance using the specified properties.
             * @function create
             * @memberof millrace.v1.Attempt
             * @static
             * @param {millrace.v1.Attempt.$Properties=} [properties] Properties to set
             * @returns {millrace.v1.Attempt} Attempt instance
             * @type {{
             *   (properties: millrace.v1.Attempt.$Shape): millrace.v1.Attempt & millrace.v1.Attempt.$Shape;
             *   (properties?: millrace.v1.Attempt.$Properties): millrace.v1.Attempt;
             * }}
             */
            Attempt.create = function(properties) {
                return new Attempt(properties);
            };

            /**
             * Encodes the specified Attempt message. Does not implicitly {@link millrace.v1.Attempt.verify|verify} messages.
             * @function encode
             * @memberof millrace.v1.Attempt
             * @static
             * @param {millrace.v1.Attempt.$Properties} message Attempt message or plain object to encode
             * @param {$protobuf.Writer} [writer] Writer to encode to
             * @returns {$protobuf.Writer} Writer
             */
            Attempt.encode = function (message, writer, _depth) {
                if (!writer)
                    writer = $Writer.create();
                if (_depth === $undefined)
                    _depth = 0;
                if (_depth > $util.recursionLimit)
                    throw $Error("max depth exceeded");
                if (message.atMs != null && $Object.hasOwnProperty.call(message, "atMs") && (typeof message.atMs === "object" ? message.atMs.low || message.atMs.high : message.atMs !== 0))
                    writer.uint32(/* id 1, wireType 0 =*/8).uint64(message.atMs);
                if (message.attempt != null && $Object.hasOwnProperty.call(message, "attempt") && message.attempt !== 0)
                    writer.uint32(/* id 2, wireType 0 =*/16).uint32(message.attempt);
                if (message.name != null && $Object.hasOwnProperty.call(message, "name") && message.name !== "")
                    writer.uint32(/* id 3, wireType 2 =*/26).string(message.name);
                if (message.message != null && $Object.hasOwnProperty.call(message, "message") && message.message !== "")
                    writer.uint32(/* id 4, wireType 2 =*/34).string(message.message);
                if (message.cause != null && $Object.hasOwnProperty.call(message, "cause") && message.cause !== "")
                    writer.uint32(/* id 5, wireType 2 =*/42).string(message.cause);
                if (message.$unknowns != null && $Object.hasOwnProperty.call(message, "$unknowns"))
                    for (let i = 0; i < message.$unknowns.length; ++i)
                        writer.raw(message.$unknowns[i]);
                return writer;
            };

            /**
             * Encodes the specified Attempt message, length delimited. Does not implicitly {@link millrace.v1.Attempt.verify|verify} messages.
             * @function encodeDelimited
             * @memberof millrace.v1.Attempt
             * @static
             * @param {millrace.v1.Attempt.$Properties} message Attempt message or plain object to encode
             * @param {$protobuf.Writer} [writer] Writer to encode to
             * @returns {$protobuf.Writer} Writer
             */
            Attempt.encodeDelimited = function(message, writer) {
                return this.encode(message, (writer || $Writer.create()).fork()).ldelim();
            };

            /**
             * Decodes an Attempt message from the specified reader or buffer.
             * @function decode
             * @memberof millrace.v1.Attempt
             * @static
             * @param {$protobuf.Reader|Uint8Array} reader Reader or buffer to decode from
             * @param {number} [length] Message length if known beforehand
             * @returns {millrace.v1.Attempt & millrace.v1.Attempt.$Shape} Attempt
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            Attempt.decode = function (reader, length, _end, _depth, _target) {
                if (!(reader instanceof $Reader))
                    reader = $Reader.create(reader);
                if (_depth === $undefined)
                    _depth = 0;
                if (_depth > $Reader.recursionLimit)
                    throw $Error("max depth exceeded");
                let end, message, value;
                if (length === $undefined)
                    end = reader.len;
                else {
                    end = reader.pos + length;
                    if (end > reader.len)
                        throw $RangeError("index out of range");
                    length = reader.len;
                    reader.len = end;
                }
                message = _target || new $root.millrace.v1.Attempt();
                while (reader.pos < end) {
                    let start = reader.pos;
                    let tag = reader.tag();
                    if (tag === _end) {
                        _end = $undefined;
                        break;
                    }
                    let wireType = tag & 7;
                    switch (tag >>>= 3) {
                    case 1: {
                            if (wireType !== 0)
                                break;
                            if (typeof (value = reader.uint64()) === "object" ? value.low || value.high : value !== 0)
                                message.atMs = value;
                            else
                                delete message.atMs;
                            continue;
                        }
                    case 2: {
                            if (wireType !== 0)
                                break;
                            if (value = reader.uint32())
                                message.attempt = value;
                            else
                                delete message.attempt;
                            continue;
                        }
                    case 3: {
                            if (wireType !== 2)
                                break;
                            if ((value = reader.stringVerify()).length)
                                message.name = value;
                            else
                                delete message.name;
                            continue;
                        }
                    case 4: {
                            if (wireType !== 2)
                                break;
                            if ((value = reader.stringVerify()).length)
                                message.message = value;
                            else
                                delete message.message;
                            continue;
                        }
                    case 5: {
                            if (wireType !== 2)
                                break;
                            if ((value = reader.stringVerify()).length)
                                message.cause = value;
                            else
                                delete message.cause;
                            continue;
                        }
                    }
                    reader.skipType(wireType, _depth, tag);
                    if (!reader.discardUnknown) {
                        $util.makeProp(message, "$unknowns", false);
                        (message.$unknowns || (message.$unknowns = [])).push(reader.raw(start, reader.pos));
                    }
                }
                if (length !== $undefined) {
                    if (reader.pos !== end)
                        throw $RangeError("index out of range");
                    reader.len = length;
                }
                if (_end !== $undefined)
                    throw $Error("missing end group");
                return message;
            };

            /**
             * Decodes an Attempt message from the specified reader or buffer, length delimited.
             * @function decodeDelimited
             * @memberof millrace.v1.Attempt
             * @static
             * @param {$protobuf.Reader|Uint8Array} reader Reader or buffer to decode from
             * @returns {millrace.v1.Attempt & millrace.v1.Attempt.$Shape} Attempt
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            Attempt.decodeDelimited = function(reader) {
                if (!(reader instanceof $Reader))
                    reader = new $Reader(reader);
                return this.decode(reader, reader.size());
            };

            /**
             * Verifies an Attempt message.
             * @function verify
             * @memberof millrace.v1.Attempt
             * @static
             * @param {Object.<string,*>} message Plain object to verify
             * @returns {string|null} `null` if valid, otherwise the reason why it is not
             */
            Attempt.verify = function (message, _depth) {
                if (typeof message !== "object" || message === null)
                    return "object expected";
                if (_depth === $undefined)
                    _depth = 0;
                if (_depth > $util.recursionLimit)
                    return "max depth exceeded";
                if (message.atMs != null && $Object.hasOwnProperty.call(message, "atMs"))
                    if (!$util.isInteger(message.atMs) && !(message.atMs && $util.isInteger(message.atMs.low) && $util.isInteger(message.atMs.high)))
                        return "atMs: integer|Long expected";
                if (message.attempt != null && $Object.hasOwnProperty.call(message, "attempt"))
                    if (!$util.isInteger(message.attempt))
                        return "attempt: integer expected";
                if (message.name != null && $Object.hasOwnProperty.call(message, "name"))
                    if (!$util.isString(message.name))
                        return "name: string expected";
                if (message.message != null && $Object.hasOwnProperty.call(message, "message"))
                    if (!$util.isString(message.message))
                        return "message: string expected";
                if (message.cause != null && $Object.hasOwnProperty.call(message, "cause"))
                    if (!$util.isString(message.cause))
                        return "cause: string expected";
                return null;
            };

            /**
             * Creates an Attempt message from a plain object. Also converts values to their respective internal types.
             * @function fromObject
             * @memberof millrace.v1.Attempt
             * @static
             * @param {Object.<string,*>} object Plain object
             * @returns {millrace.v1.Attempt} Attempt
             */
            Attempt.fromObject = function (object, _depth) {
                if (object instanceof $root.millrace.v1.Attempt)
                    return object;
                if (!$util.isObject(object))
                    throw $TypeError(".millrace.v1.Attempt: object expected");
                if (_depth === $undefined)
                    _depth = 0;
                if (_depth > $util.recursionLimit)
                    throw $Error("max depth exceeded");
                let message = new $root.millrace.v1.Attempt();
                if (object.atMs != null)
                    if (typeof object.atMs === "object" ? object.atMs.low || object.atMs.high : $Number(object.atMs) !== 0)
                        if ($util.Long)
                            message.atMs = $util.Long.fromValue(object.atMs, true);
                        else if (typeof object.atMs === "string")
                            message.atMs = $parseInt(object.atMs, 10);
                        else if (typeof object.atMs === "number")
                            message.atMs = object.atMs;
                        else if (typeof object.atMs === "object")
                            message.atMs = new $util.LongBits(object.atMs.low >>> 0, object.atMs.high >>> 0).toNumber(true);
                if (object.attempt != null)
                    if ($Number(object.attempt) !== 0)
                        message.attempt = object.attempt >>> 0;
                if (object.name != null)
                    if (typeof object.name !== "string" || object.name.length)
                        message.name = $String(object.name);
                if (object.message != null)
                    if (typeof object.message !== "string" || object.message.length)
                        message.message = $String(object.message);
                if (object.cause != null)
                    if (typeof object.cause !== "string" || object.cause.length)
                        message.cause = $String(object.cause);
                return message;
            };

            /**
             * Creates a plain object from an Attempt message. Also converts values to other types if specified.
             * @function toObject
             * @memberof millrace.v1.Attempt
             * @static
             * @param {millrace.v1.Attempt} message Attempt
             * @param {$protobuf.IConversionOptions} [options] Conversion options
             * @returns {Object.<string,*>} Plain object
             */
            Attempt.toObject = function (message, options, _depth) {
                if (!options)
                    options = {};
                if (_depth === $undefined)
                    _depth = 0;
                if (_depth > $util.recursionLimit)
                    throw $Error("max depth exceeded");
                let object = {};
                if (options.defaults) {
                    if ($util.Long) {
                        let long = new $util.Long(0, 0, true);
                        object.atMs = options.longs === $String ? long.toString() : options.longs === $Number ? long.toNumber() : typeof $BigInt !== "undefined" && options.longs === $BigInt ? long.toBigInt() : long;
                    } else
                        object.atMs = options.longs === $String ? "0" : typeof $BigInt !== "undefined" && options.longs === $BigInt ? $BigInt("0") : 0;
                    object.attempt = 0;
                    object.name = "";
                    object.message = "";
                    object.cause = "";
                }
                if (message.atMs != null && $Object.hasOwnProperty.call(message, "atMs"))
                    if (typeof $BigInt !== "undefined" && options.longs === $BigInt)
                        object.atMs = typeof message.atMs === "number" ? $BigInt(message.atMs) : $util.Long.fromBits(message.atMs.low >>> 0, message.atMs.high >>> 0, true).toBigInt();
                    else if (typeof message.atMs === "number")
                        object.atMs = options.longs === $String ? $String(message.atMs) : message.atMs;
                    else
                        object.atMs = options.longs === $String ? $util.Long.prototype.toString.call(message.atMs) : options.longs === $Number ? new $util.LongBits(message.atMs.low >>> 0, message.atMs.high >>> 0).toNumber(true) : message.atMs;
                if (message.attempt != null && $Object.hasOwnProperty.call(message, "attempt"))
                    object.attempt = message.attempt;
                if (message.name != null && $Object.hasOwnProperty.call(message, "name"))
                    object.name = message.name;
                if (message.message != null && $Object.hasOwnProperty.call(message, "message"))
                    object.message = message.message;
                if (message.cause != null && $Object.hasOwnProperty.call(message, "cause"))
                    object.cause = message.cause;
                return object;
            };

            /**
             * Converts this Attempt to JSON.
             * @function toJSON
             * @memberof millrace.v1.Attempt
             * @instance
             * @returns {Object.<string,*>} JSON object
             */
            Attempt.prototype.toJSON = function() {
                return Attempt.toObject(this, $protobuf.util.toJSONOptions);
            };

            /**
             * Gets the type url for Attempt
             * @function getTypeUrl
             * @memberof millrace.v1.Attempt
             * @static
             * @param {string} [prefix] Custom type url prefix, defaults to `"type.googleapis.com"`
             * @returns {string} The type url
             */
            Attempt.getTypeUrl = function(prefix) {
                if (prefix === $undefined)
                    prefix = "type.googleapis.com";
                return prefix + "/millrace.v1.Attempt";
            };

            return Attempt;
        })();

        return v1;
    })();

    return millrace;
})();

export {
  $root as default
};
